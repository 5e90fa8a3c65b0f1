//! Pulls: the work of a consuming connection, and the check of every message it gets.

use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{Answer, Next, Work};
use crate::frame::{PullTemplate, Serialization};
use crate::ledger::{MessageNumber, Rejected, Sources};
use crate::load::{Phase, Shared};
use crate::produce::Sent;
use crate::record;
use crate::reply::Reply;
use crate::stamp::{self, Stamp};
use crate::tally::{Fault, Tally};

const SUCCESS: i32 = 0;
const PULL_NOT_FOUND: i32 = 19;
const PULL_RETRY_IMMEDIATELY: i32 = 20;

/// What a consumer reads.
#[derive(Clone)]
pub enum Source {
    /// Messages that are there, over and over while the run lasts, or once.
    Backlog {
        /// Begin again at the end.
        again: bool,
    },
    /// Messages as they are sent; each one's time from send to arrival is noted.
    Follow(Arc<Sent>),
}

/// What all consumers of a run share.
#[derive(Clone)]
pub struct Consumption {
    /// The run.
    pub shared: Arc<Shared>,
    /// Topic.
    pub topic: String,
    /// What is read.
    pub source: Source,
    /// Producers that were met.
    pub sources: Arc<Mutex<Sources>>,
    /// Most messages of one pull.
    pub max_messages: u32,
    /// How long the broker may hold a pull.
    pub suspend_ms: u64,
    /// How headers are written.
    pub serialization: Serialization,
}

/// A queue and the part of it that is read.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Queue.
    pub queue: u16,
    /// First offset.
    pub begin: u64,
    /// Offset after the last one; does not matter when following.
    pub end: u64,
}

struct Reading {
    range: Range,
    template: PullTemplate,
    next: u64,
    first_pass: bool,
    finished: bool,
}

/// Entries of a consumer's own memory of sources.
const LATELY: usize = 64;

/// One consumer.
pub struct Read {
    consumption: Consumption,
    queues: Vec<Reading>,
    /// Queues whose next pull may be sent, as indexes.
    idle: Vec<usize>,
    /// Sources met lately, by the low bits of their producer: the shared table is asked only for new ones.
    lately: [Option<(u32, u16, u16)>; LATELY],
    last_progress_ns: u64,
}

impl Read {
    /// A consumer of these queues, one pull in flight for each.
    pub fn new(consumption: Consumption, ranges: &[Range]) -> Self {
        let Consumption {
            topic,
            max_messages,
            suspend_ms,
            serialization,
            ..
        } = &consumption;
        let follows = matches!(consumption.source, Source::Follow(_));
        let queues: Vec<Reading> = ranges
            .iter()
            .map(|&range| Reading {
                range,
                template: PullTemplate::new(
                    topic,
                    range.queue,
                    *max_messages,
                    *suspend_ms,
                    *serialization,
                ),
                next: range.begin,
                first_pass: true,
                finished: !follows && range.begin >= range.end,
            })
            .collect();
        let idle = (0..queues.len())
            .rev()
            .filter(|&index| !queues[index].finished)
            .collect();
        let last_progress_ns = consumption.shared.now_ns();
        Self {
            consumption,
            queues,
            idle,
            lately: [None; LATELY],
            last_progress_ns,
        }
    }

    /// Reads the records of a pull from queue `index`.
    fn take(&mut self, index: usize, answer: &Answer<'_>, tally: &mut Tally) {
        let mut rest = answer.body;
        let before = self.queues[index].next;
        while !rest.is_empty() {
            let Some((record, after)) = record::first(rest) else {
                tally.faults.add(Fault::Altered, 1, || {
                    format!("a pull ends in {} bytes that are no record", rest.len())
                });
                break;
            };
            rest = after;
            let reading = &mut self.queues[index];
            let queue = reading.range.queue;
            let offset = record.queue_offset;
            if record.queue_id != u32::from(queue)
                || record.topic != self.consumption.topic.as_bytes()
            {
                tally.faults.add(Fault::Unexpected, 1, || {
                    format!("a pull from queue {queue} brought another's record")
                });
                continue;
            }
            match offset.checked_sub(reading.next) {
                Some(0) => {}
                Some(skipped) => {
                    tally.faults.add(Fault::Offset, skipped, || {
                        format!("queue {queue}: offsets before {offset} skipped")
                    });
                }
                None => tally.faults.add(Fault::Doubled, 1, || {
                    format!("queue {queue}: offset {offset} came again")
                }),
            }
            reading.next = reading.next.max(offset + 1);
            tally.count(1, record.body.len());
            match stamp::open(record.body, record.body_crc).filter(|stamp| stamp.queue == queue) {
                Some(stamp) => self.judge(index, offset, &stamp, answer.now_ns, tally),
                None => tally.faults.add(Fault::Altered, 1, || {
                    format!("queue {queue} offset {offset}: altered body")
                }),
            }
        }
        let next = self.queues[index].next;
        if next > before {
            self.last_progress_ns = answer.now_ns;
        } else {
            tally.faults.add(Fault::Unexpected, 1, || {
                format!("a pull at offset {before} was answered without records")
            });
        }
        if answer.reply.next_begin_offset != Some(next) {
            tally.faults.add(Fault::Unexpected, 1, || {
                format!(
                    "nextBeginOffset {:?} after offset {}",
                    answer.reply.next_begin_offset,
                    next - 1
                )
            });
        }
    }

    /// Nothing to read at the offset that was asked for; then it is also where to go on.
    fn nothing(&mut self, index: usize, reply: &Reply<'_>, tally: &mut Tally) {
        let reading = &mut self.queues[index];
        let (queue, offset) = (reading.range.queue, reading.next);
        if let Some(next) = reply.next_begin_offset.filter(|&next| next != offset) {
            tally.faults.add(Fault::Offset, 1, || {
                format!("queue {queue}: sent from offset {offset} to {next} without a message")
            });
            reading.next = next;
        }
    }

    fn judge(&mut self, index: usize, offset: u64, stamp: &Stamp, now_ns: u64, tally: &mut Tally) {
        let Some(source) = self.source_number(stamp) else {
            return;
        };
        let reading = &self.queues[index];
        let queue = reading.range.queue;
        let message = MessageNumber {
            source,
            sequence: stamp.sequence,
        };
        match (tally.read.put(queue, offset, message), reading.first_pass) {
            (Ok(()), true) | (Err(Rejected::Same), false) => {}
            (Err(Rejected::Same), true) => {
                tally.faults.add(Fault::Doubled, 1, || {
                    format!("queue {queue}: offset {offset} was read twice")
                });
            }
            _ => tally.faults.add(Fault::Reordered, 1, || {
                format!("queue {queue}: another message than before at offset {offset}")
            }),
        }
        if matches!(self.consumption.source, Source::Follow(_)) {
            tally.time(now_ns.saturating_sub(stamp.sent_ns));
        }
    }

    fn source_number(&mut self, stamp: &Stamp) -> Option<u16> {
        let place = &mut self.lately[usize::from(stamp.producer) % LATELY];
        if let Some((run, producer, number)) = *place
            && (run, producer) == (stamp.run, stamp.producer)
        {
            return Some(number);
        }
        let mut sources = self
            .consumption
            .sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let number = sources.number(stamp.run, stamp.producer, stamp.ordered)?;
        *place = Some((stamp.run, stamp.producer, number));
        Some(number)
    }

    /// Decides what follows a pull: the next one, the next pass, or nothing.
    fn go_on(&mut self, index: usize) {
        let reading = &mut self.queues[index];
        if let Source::Backlog { again } = self.consumption.source
            && reading.next >= reading.range.end
        {
            if again && self.consumption.shared.phase() != Phase::Drain {
                reading.next = reading.range.begin;
                reading.first_pass = false;
            } else {
                reading.finished = true;
            }
        }
        if !reading.finished {
            self.idle.push(index);
        }
    }
}

impl Work for Read {
    fn fill(&mut self, opaque: u32, _due_ns: u64, out: &mut Vec<u8>) -> Next {
        if matches!(self.consumption.source, Source::Backlog { .. })
            && self.consumption.shared.phase() == Phase::Drain
        {
            // Later passes may end anywhere; the first is read to its end, so that everything was seen once.
            for index in std::mem::take(&mut self.idle) {
                if self.queues[index].first_pass {
                    self.idle.push(index);
                } else {
                    self.queues[index].finished = true;
                }
            }
        }
        let Some(index) = self.idle.pop() else {
            let finished = self.queues.iter().all(|reading| reading.finished);
            return if finished { Next::Done } else { Next::Wait };
        };
        let reading = &self.queues[index];
        reading.template.push(opaque, reading.next, out);
        Next::Sent(index as u64)
    }

    fn answer(&mut self, answer: &Answer<'_>, tally: &mut Tally) {
        let Some(index) = usize::try_from(answer.token)
            .ok()
            .filter(|&index| index < self.queues.len())
        else {
            return;
        };
        match answer.reply.code {
            SUCCESS => {
                self.take(index, answer, tally);
                if matches!(self.consumption.source, Source::Backlog { .. }) {
                    tally.time(answer.now_ns.saturating_sub(answer.due_ns));
                }
            }
            PULL_NOT_FOUND | PULL_RETRY_IMMEDIATELY => self.nothing(index, answer.reply, tally),
            code => {
                tally.faults.refused(code, answer.reply.remark);
                self.queues[index].finished = true;
            }
        }
        self.go_on(index);
    }

    fn may_leave(&self) -> bool {
        let Source::Follow(sent) = &self.consumption.source else {
            return false;
        };
        let shared = &self.consumption.shared;
        let caught_up = || {
            self.queues
                .iter()
                .all(|reading| reading.next >= sent.end(reading.range.queue))
        };
        let stuck = || shared.now_ns().saturating_sub(self.last_progress_ns) > shared.timeout_ns;
        shared.is_over() && (sent.is_settled() && caught_up() || stuck())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Fill;
    use std::time::Duration;

    const TOPIC: &str = "T";
    const QUEUE: u16 = 1;

    fn body(sequence: u64) -> Vec<u8> {
        let fill = Fill::new(64, 1);
        let mut body = fill.bytes.clone();
        body.resize(64, 0);
        Stamp {
            run: 1,
            producer: 0,
            ordered: true,
            queue: QUEUE,
            sequence,
            sent_ns: 5,
        }
        .seal(&fill, &mut body);
        body
    }

    fn stored(offset: u64) -> Vec<u8> {
        record::tests::encode(QUEUE.into(), offset, TOPIC, &body(offset))
    }

    fn reader(again: bool) -> Read {
        let consumption = Consumption {
            shared: Shared::new(1, Duration::from_secs(1)),
            topic: TOPIC.to_owned(),
            source: Source::Backlog { again },
            sources: Arc::default(),
            max_messages: 32,
            suspend_ms: 0,
            serialization: Serialization::Json,
        };
        Read::new(
            consumption,
            &[Range {
                queue: QUEUE,
                begin: 0,
                end: 3,
            }],
        )
    }

    /// Pulls once and gets `records`.
    fn pulled(reader: &mut Read, records: &[Vec<u8>], next: u64, tally: &mut Tally) {
        let Next::Sent(token) = reader.fill(1_000_000_000, 0, &mut Vec::new()) else {
            panic!("nothing was pulled")
        };
        let reply = Reply {
            flag: 1,
            next_begin_offset: Some(next),
            ..Reply::default()
        };
        let body = records.concat();
        reader.answer(
            &Answer {
                token,
                due_ns: 0,
                now_ns: 9,
                reply: &reply,
                body: &body,
            },
            tally,
        );
    }

    fn faults_of(records: &[Vec<u8>], next: u64) -> Vec<(Fault, u64)> {
        let mut tally = Tally::new(&[0, 0]);
        pulled(&mut reader(false), records, next, &mut tally);
        tally
            .faults
            .counts()
            .iter()
            .map(|(&fault, &count)| (fault, count))
            .collect()
    }

    #[test]
    fn whole_records_in_order_are_clean_and_the_end_is_the_end() {
        let mut tally = Tally::new(&[0, 0]);
        let mut reader = reader(false);
        pulled(&mut reader, &[stored(0), stored(1)], 2, &mut tally);
        pulled(&mut reader, &[stored(2)], 3, &mut tally);
        assert!(tally.faults.is_empty(), "{:?}", tally.faults);
        assert_eq!((tally.messages, tally.bytes, tally.read.len()), (3, 192, 3));
        assert_eq!(reader.fill(1, 0, &mut Vec::new()), Next::Done);
    }

    #[test]
    fn a_skipped_offset_is_noticed() {
        assert_eq!(faults_of(&[stored(0), stored(2)], 3), [(Fault::Offset, 1)]);
    }

    #[test]
    fn a_record_that_comes_twice_is_noticed() {
        assert_eq!(faults_of(&[stored(0), stored(0)], 1), [(Fault::Doubled, 2)]);
    }

    #[test]
    fn an_altered_body_is_noticed() {
        let mut bad = stored(1);
        let at = bad.len() - 40;
        bad[at] ^= 1;
        assert_eq!(faults_of(&[stored(0), bad], 2), [(Fault::Altered, 1)]);
    }

    #[test]
    fn a_body_of_another_queue_is_noticed() {
        let other = record::tests::encode(0, 0, TOPIC, &body(0));
        assert_eq!(faults_of(&[other, stored(0)], 1), [(Fault::Unexpected, 1)]);
        let moved = record::tests::encode(QUEUE.into(), 0, "U", &body(0));
        assert_eq!(faults_of(&[moved, stored(0)], 1), [(Fault::Unexpected, 1)]);
    }

    #[test]
    fn half_a_record_is_noticed() {
        assert_eq!(
            faults_of(&[stored(0), stored(1)[..50].to_vec()], 1),
            [(Fault::Altered, 1)]
        );
    }

    #[test]
    fn a_wrong_next_offset_is_noticed() {
        assert_eq!(faults_of(&[stored(0)], 2), [(Fault::Unexpected, 1)]);
        assert_eq!(faults_of(&[], 0), [(Fault::Unexpected, 1)]);
    }

    #[test]
    fn a_later_pass_must_bring_the_same_messages() {
        let mut tally = Tally::new(&[0, 0]);
        let mut reader = reader(true);
        pulled(
            &mut reader,
            &[stored(0), stored(1), stored(2)],
            3,
            &mut tally,
        );
        pulled(&mut reader, &[stored(0), stored(1)], 2, &mut tally);
        assert!(tally.faults.is_empty(), "{:?}", tally.faults);
        let other = record::tests::encode(QUEUE.into(), 2, TOPIC, &body(9));
        pulled(&mut reader, &[other], 3, &mut tally);
        assert_eq!(tally.faults.counts().get(&Fault::Reordered), Some(&1));
    }

    #[test]
    fn being_sent_elsewhere_without_a_message_is_noticed() {
        let mut tally = Tally::new(&[0, 0]);
        let mut reader = reader(false);
        for (next, faults) in [(0, 0), (2, 1)] {
            let Next::Sent(token) = reader.fill(1, 0, &mut Vec::new()) else {
                panic!("nothing was pulled")
            };
            let reply = Reply {
                code: 19,
                flag: 1,
                next_begin_offset: Some(next),
                ..Reply::default()
            };
            reader.answer(
                &Answer {
                    token,
                    due_ns: 0,
                    now_ns: 9,
                    reply: &reply,
                    body: b"",
                },
                &mut tally,
            );
            assert_eq!(
                tally
                    .faults
                    .counts()
                    .get(&Fault::Offset)
                    .copied()
                    .unwrap_or(0),
                faults
            );
        }
    }

    #[test]
    fn a_refused_pull_ends_its_queue() {
        let mut tally = Tally::new(&[0, 0]);
        let mut reader = reader(false);
        let Next::Sent(token) = reader.fill(1, 0, &mut Vec::new()) else {
            panic!("nothing was pulled")
        };
        let reply = Reply {
            code: 26,
            flag: 1,
            ..Reply::default()
        };
        reader.answer(
            &Answer {
                token,
                due_ns: 0,
                now_ns: 9,
                reply: &reply,
                body: b"",
            },
            &mut tally,
        );
        assert_eq!(tally.faults.codes().get(&26), Some(&1));
        assert_eq!(reader.fill(1, 0, &mut Vec::new()), Next::Done);
    }
}
