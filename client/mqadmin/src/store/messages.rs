//! Through all messages of a log in the order in which they were stored.

use std::ops::ControlFlow;

use anyhow::Result;
use common::message::record::RecordView;
use store::offline::{Item, OfflineStore, walk};

use crate::terminal::{Code, watched};
use crate::text;

/// Clocks step: a file is passed over only if its neighbours say that it is this much too old or
/// too new.
const CLOCK_STEP_MS: i64 = 600_000;

/// Which messages.
#[derive(Default, clap::Args)]
pub struct Wanted {
    /// Only messages of this topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// Only messages stored at this time or later: 2026-11-21T15:04:05.678Z (UTC, a part at its end
    /// may be missing), or milliseconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = text::parse_time)]
    pub from: Option<i64>,
    /// Only messages stored before this time.
    #[arg(long, value_name = "TIME", value_parser = text::parse_time)]
    pub to: Option<i64>,
}

impl Wanted {
    fn covers(&self, record: &RecordView<'_>) -> bool {
        let time = record.store_timestamp;
        self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time < to)
            && self
                .topic
                .as_ref()
                .is_none_or(|topic| topic.as_bytes() == record.topic)
    }

    /// Bases of the files that may hold such messages.
    fn files(&self, store: &OfflineStore) -> Result<Vec<usize>> {
        let mut times = Vec::with_capacity(store.segments.len());
        if self.from.is_some() || self.to.is_some() {
            for segment in &store.segments {
                times.push(store.first_stored(segment)?);
            }
        }
        let is_wanted = |at: &usize| {
            let begins = times.get(*at).copied().flatten();
            let next_begins = times.get(at + 1).copied().flatten();
            let too_old = self
                .from
                .zip(next_begins)
                .is_some_and(|(from, next)| next.saturating_add(CLOCK_STEP_MS) < from);
            let too_new = self
                .to
                .zip(begins)
                .is_some_and(|(to, first)| first.saturating_sub(CLOCK_STEP_MS) > to);
            !too_old && !too_new
        };
        Ok((0..store.segments.len()).filter(is_wanted).collect())
    }
}

/// How a pass went.
#[derive(Debug, Default, Clone, Copy)]
pub struct Passed {
    /// Places that are nothing valid; each has been reported to standard error.
    pub damage: u64,
    /// It was stopped before the end.
    pub stopped: bool,
}

impl Passed {
    /// The exit code of a command that did what it should otherwise.
    pub fn code(self, otherwise: Code) -> Code {
        match (self.stopped, self.damage) {
            (true, _) => Code::Interrupted,
            (_, 0) => otherwise,
            _ => Code::Bad,
        }
    }
}

/// Visits every wanted message until the end, Ctrl-C, or `visit` has seen enough, which it says by `false`. Damage is reported to standard
/// error and passed over.
pub fn each(
    store: &OfflineStore,
    wanted: &Wanted,
    mut visit: impl FnMut(&RecordView<'_>) -> Result<bool> + Send,
) -> Result<Passed> {
    let files = wanted.files(store)?;
    let segments = || files.iter().map(|at| &store.segments[*at]);
    let bytes = segments().map(|segment| segment.bytes).sum();
    let checks = store.checks();
    watched(bytes, |progress| {
        let (mut passed, mut failed) = (Passed::default(), None);
        for segment in segments() {
            let flow = walk(segment, segment.base, checks, progress, |item| match item {
                Item::Record(_, record) if wanted.covers(&record) => match visit(&record) {
                    Ok(true) => ControlFlow::Continue(()),
                    Ok(false) => ControlFlow::Break(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                },
                Item::Bad { at, problem, next } => {
                    passed.damage += 1;
                    let bytes = next.unwrap_or(segment.end()) - at;
                    eprintln!(
                        "mqadmin: at offset {at} of the log: {problem}; {bytes} bytes passed over"
                    );
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Continue(()),
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            passed.stopped = progress.is_stopped();
            if flow.is_break() {
                break;
            }
        }
        Ok(passed)
    })?
}
