//! Reading keys from the log which dispatch did not hand over.

use std::ops::ControlFlow;

use super::keys::{Keys, TopicHash, is_indexed};
use super::layout::Key;
use super::table::{IndexTable, State};
use super::tail::Resume;
use crate::commit_log::recover::{Step, steps};
use crate::commit_log::segments::Segments;
use crate::error::StoreError;
use crate::reput::Reput;

/// Keys read before they are written.
const BATCH_KEYS: usize = 100_000;
/// What is left to read may be so long when dispatch is held up for it.
const SHORT_BYTES: u64 = 1 << 20;

impl IndexTable {
    /// Brings the index up to dispatch if it is behind; from then on it takes what is dispatched. If it cannot it stays
    /// behind and can be asked again. Called by one thread at a time.
    pub(crate) fn catch_up(&self, reput: &Reput) {
        let segments = &reput.log.segments;
        while let Some(behind) = self.behind() {
            let dispatched = reput.dispatched();
            if behind.offset.saturating_add(SHORT_BYTES) > dispatched {
                break;
            }
            if !self.read_back(segments, dispatched) {
                return;
            }
        }
        if self.behind().is_none() {
            return;
        }
        reput.hold(|| {
            let dispatched = reput.dispatched();
            if self.read_back(segments, dispatched) {
                self.tail.lock().behind = None;
            }
        });
    }

    fn behind(&self) -> Option<Resume> {
        self.tail.lock().behind
    }

    /// True when it came as far as `to`.
    fn read_back(&self, segments: &Segments, to: u64) -> bool {
        loop {
            let mut state = self.state.write();
            let Some(resume) = self.behind() else {
                return true;
            };
            if !self.try_apply(&mut state, resume.offset) {
                return false;
            }
            // A damaged file may have been given up.
            let Some(resume) = self.behind() else {
                return true;
            };
            if resume.offset >= to {
                return true;
            }
            match self.read_batch(&mut state, segments, resume, to) {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%error, "the key index cannot be completed; trying again");
                    return false;
                }
            }
        }
    }

    /// Reads the keys of some records. Afterwards they are in the batch, and the index is behind from the next record on.
    fn read_batch(
        &self,
        state: &mut State,
        segments: &Segments,
        resume: Resume,
        to: u64,
    ) -> Result<(), StoreError> {
        let offset = resume.offset;
        let skip = usize::try_from(resume.skip).unwrap_or(usize::MAX);
        let (from, mut is_gone) = (offset.max(segments.min_offset()), false);
        let at = steps(segments, from, to, |at, found| {
            let there = if at == offset { skip } else { 0 };
            match found {
                _ if state.batch.len() >= BATCH_KEYS => return ControlFlow::Break(()),
                Step::Record(record) if is_indexed(record.sys_flag) => {
                    let topic = TopicHash::of(&record.topic_text());
                    let properties = record.properties_text();
                    let keys = Keys::of(&properties).hashes(topic).skip(there);
                    state.batch.extend(keys.map(|hash| Key {
                        hash,
                        offset: at,
                        store_timestamp: record.store_timestamp,
                    }));
                }
                Step::Blank | Step::End if there > 0 => {
                    is_gone = true;
                    return ControlFlow::Break(());
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        if is_gone {
            return self.discard(state);
        }
        self.tail.lock().behind = Some(Resume::at(at));
        Ok(())
    }
}
