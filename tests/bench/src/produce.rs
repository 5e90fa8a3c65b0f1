//! Sends: the work of a producing connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{Answer, Next, Work};
use crate::frame::{Kind, SendSpec, SendTemplate, Serialization};
use crate::ledger::MessageNumber;
use crate::load::Shared;
use crate::stamp::Fill;
use crate::tally::{Fault, Tally};

/// Response codes of messages that were stored, though less safely than asked for.
const STORED_BUT: [i32; 3] = [10, 11, 12];

/// How far producers have come, for consumers that follow them.
pub struct Sent {
    requests: AtomicU64,
    answers: AtomicU64,
    /// Per queue the offset after the last acknowledged message.
    ends: Vec<AtomicU64>,
}

impl Sent {
    /// Nothing yet, for queues that begin at `bases`.
    pub fn new(bases: &[u64]) -> Arc<Self> {
        let ends = bases.iter().map(|&base| AtomicU64::new(base)).collect();
        Arc::new(Self {
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            ends,
        })
    }

    /// Every request has its answer.
    pub fn is_settled(&self) -> bool {
        self.requests.load(Ordering::Acquire) == self.answers.load(Ordering::Acquire)
    }

    /// The offset after the last acknowledged message of a queue.
    pub fn end(&self, queue: u16) -> u64 {
        self.ends
            .get(usize::from(queue))
            .map_or(0, |end| end.load(Ordering::Acquire))
    }
}

/// What all producers of a run share.
#[derive(Clone)]
pub struct Production {
    /// The run.
    pub shared: Arc<Shared>,
    /// Topic.
    pub topic: String,
    /// Queues 0 to this, sent to in turn.
    pub queues: u16,
    /// Random number of the run.
    pub run: u32,
    /// Body without stamp.
    pub fill: Arc<Fill>,
    /// How headers are written.
    pub serialization: Serialization,
    /// End to end: where consumers look. Then messages count when they are read, not when they are acknowledged.
    pub sent: Option<Arc<Sent>>,
}

/// One producer.
pub struct Produce {
    production: Production,
    templates: Vec<SendTemplate>,
    sequences: Vec<u64>,
    next: u16,
    producer: u16,
    body_bytes: usize,
}

const SEQUENCE_BITS: u32 = 48;

impl Produce {
    /// Producer number `producer`, which sends one message at a time if `ordered`.
    pub fn new(production: Production, producer: u16, ordered: bool) -> Self {
        let templates = (0..production.queues)
            .map(|queue| {
                SendTemplate::new(&SendSpec {
                    topic: &production.topic,
                    queue,
                    run: production.run,
                    producer,
                    ordered,
                    fill: &production.fill,
                    serialization: production.serialization,
                    kind: Kind::Plain,
                })
            })
            .collect();
        Self {
            templates,
            sequences: vec![0; production.queues.into()],
            // Connections that work in step do not all begin with the same queue.
            next: producer % production.queues,
            producer,
            body_bytes: production.fill.bytes.len() + crate::stamp::STAMP_BYTES,
            production,
        }
    }
}

impl Work for Produce {
    fn fill(&mut self, opaque: u32, due_ns: u64, out: &mut Vec<u8>) -> Next {
        if !self.production.shared.claim() {
            return Next::Done;
        }
        let queue = self.next;
        self.next = (queue + 1) % self.production.queues;
        let sequence = &mut self.sequences[usize::from(queue)];
        let token = u64::from(queue) << SEQUENCE_BITS | *sequence;
        let born_ms = self.production.shared.wall_ms(due_ns);
        let template = &self.templates[usize::from(queue)];
        template.push(
            opaque,
            *sequence,
            due_ns,
            born_ms,
            &self.production.fill,
            out,
        );
        *sequence += 1;
        if let Some(sent) = &self.production.sent {
            sent.requests.fetch_add(1, Ordering::Release);
        }
        Next::Sent(token)
    }

    fn answer(&mut self, answer: &Answer<'_>, tally: &mut Tally) {
        let queue = u16::try_from(answer.token >> SEQUENCE_BITS).unwrap_or(u16::MAX);
        let sequence = answer.token & ((1 << SEQUENCE_BITS) - 1);
        let reply = answer.reply;
        if reply.code != 0 {
            tally.faults.refused(reply.code, reply.remark);
        }
        if reply.code == 0 || STORED_BUT.contains(&reply.code) {
            let placed = reply
                .queue_id
                .zip(reply.queue_offset)
                .filter(|&(id, _)| id == u64::from(queue));
            if let Some((_, offset)) = placed {
                let message = MessageNumber {
                    source: self.producer,
                    sequence,
                };
                if let Err(rejected) = tally.acknowledged.put(queue, offset, message) {
                    tally.faults.add(Fault::Offset, 1, || {
                        format!("queue {queue}: acknowledged at offset {offset}: {rejected:?}")
                    });
                }
                if let Some(sent) = &self.production.sent {
                    sent.ends[usize::from(queue)].fetch_max(offset + 1, Ordering::Release);
                }
            } else {
                tally.faults.add(Fault::Unexpected, 1, || {
                    format!(
                        "send to queue {queue} answered with {:?} and {:?}",
                        reply.queue_id, reply.queue_offset
                    )
                });
            }
        }
        let took_ns = answer.now_ns.saturating_sub(answer.due_ns);
        if let Some(sent) = &self.production.sent {
            sent.answers.fetch_add(1, Ordering::Release);
            tally.time_acknowledged(took_ns);
        } else if reply.code == 0 {
            tally.count(1, self.body_bytes);
            tally.time(took_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;
    use std::time::Duration;

    fn producer(sent: Option<Arc<Sent>>) -> Produce {
        let production = Production {
            shared: Shared::new(1, Duration::from_secs(1)),
            topic: "T".to_owned(),
            queues: 2,
            run: 1,
            fill: Arc::new(Fill::new(64, 1)),
            serialization: Serialization::Json,
            sent,
        };
        Produce::new(production, 0, true)
    }

    /// Sends once and answers with `reply`; the counters after that.
    fn answered(reply: &Reply<'_>) -> Tally {
        let mut producer = producer(None);
        let mut tally = Tally::new(&[0, 0]);
        tally.measuring = true;
        let Next::Sent(token) = producer.fill(1_000_000_000, 10, &mut Vec::new()) else {
            panic!("nothing was sent")
        };
        producer.answer(
            &Answer {
                token,
                due_ns: 10,
                now_ns: 40,
                reply,
                body: b"",
            },
            &mut tally,
        );
        tally
    }

    const OK: Reply<'_> = Reply {
        code: 0,
        opaque: 1_000_000_000,
        flag: 1,
        remark: b"",
        queue_id: Some(0),
        queue_offset: Some(0),
        next_begin_offset: None,
        msg_id: b"",
    };

    #[test]
    fn an_acknowledged_send_counts() {
        let tally = answered(&OK);
        assert!(tally.faults.is_empty());
        assert_eq!(
            (
                tally.messages,
                tally.bytes,
                tally.latency.max(),
                tally.acknowledged.len()
            ),
            (1, 64, 30, 1)
        );
    }

    #[test]
    fn a_refused_send_is_a_fault_and_no_message() {
        let tally = answered(&Reply {
            code: 2,
            remark: b"busy",
            ..OK
        });
        assert_eq!(
            (
                tally.faults.codes().get(&2),
                tally.messages,
                tally.acknowledged.len()
            ),
            (Some(&1), 0, 0)
        );
        assert_eq!(tally.faults.examples(), ["code 2: busy"]);
    }

    #[test]
    fn a_stored_send_that_missed_its_flush_is_a_fault_but_must_not_be_lost() {
        let tally = answered(&Reply { code: 10, ..OK });
        assert_eq!(
            (
                tally.faults.codes().get(&10),
                tally.messages,
                tally.acknowledged.len()
            ),
            (Some(&1), 0, 1)
        );
    }

    #[test]
    fn a_wrong_queue_or_a_missing_offset_is_a_fault() {
        for reply in [
            Reply {
                queue_id: Some(1),
                ..OK
            },
            Reply {
                queue_offset: None,
                ..OK
            },
        ] {
            assert_eq!(
                answered(&reply).faults.counts().get(&Fault::Unexpected),
                Some(&1)
            );
        }
    }

    #[test]
    fn queues_are_sent_to_in_turn_and_followers_see_how_far() {
        let sent = Sent::new(&[0, 7]);
        let mut producer = producer(Some(Arc::clone(&sent)));
        let mut out = Vec::new();
        let tokens: Vec<Next> = (0..3)
            .map(|_| producer.fill(1_000_000_000, 10, &mut out))
            .collect();
        let second_queue = 1 << SEQUENCE_BITS;
        assert_eq!(
            tokens,
            [Next::Sent(0), Next::Sent(second_queue), Next::Sent(1)]
        );
        assert!(!sent.is_settled());
        let mut tally = Tally::new(&[0, 7]);
        for (token, queue, offset) in [(0, 0, 0), (second_queue, 1, 7), (1, 0, 1)] {
            let reply = Reply {
                queue_id: Some(queue),
                queue_offset: Some(offset),
                ..OK
            };
            producer.answer(
                &Answer {
                    token,
                    due_ns: 10,
                    now_ns: 40,
                    reply: &reply,
                    body: b"",
                },
                &mut tally,
            );
        }
        assert!(sent.is_settled() && tally.faults.is_empty());
        assert_eq!((sent.end(0), sent.end(1), tally.messages), (2, 8, 0));
    }
}
