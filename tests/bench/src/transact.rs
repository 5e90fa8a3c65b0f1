//! `mqbench transactions`: a half message and its commit, counted as one; beside plain sends of the same shape.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::args::TransactionsArgs;
use crate::control::{self, Control};
use crate::engine::{Answer, Lane, Next, Work};
use crate::frame::{EndTemplate, Kind, SendSpec, SendTemplate};
use crate::ledger::Ledger;
use crate::load::{self, End, Outcome, Plan};
use crate::produce::Production;
use crate::read::{Range, Source};
use crate::report::Report;
use crate::runs::{self, Place, finish, load_json, plan, shared};
use crate::tally::{Fault, Tally};

const SEQUENCE_BITS: u32 = 48;
/// In tokens: the request is the end of a transaction.
const END: u64 = 1 << 63;

/// A half message that is stored.
struct Stored {
    offset: u64,
    position: u64,
    begun_ns: u64,
}

/// One producer of transactions.
struct Transact {
    production: Production,
    halves: Vec<SendTemplate>,
    end: EndTemplate,
    /// Ends are sent without waiting for an answer.
    oneway: bool,
    sequences: Vec<u64>,
    next: u16,
    body_bytes: usize,
    /// Halves that were asked for and not answered.
    asked: usize,
    stored: VecDeque<Stored>,
    /// When transactions began whose end is on its way.
    ending: HashMap<u64, u64>,
    ends: u64,
}

impl Transact {
    fn new(production: Production, producer: u16, oneway: bool) -> Self {
        let halves = (0..production.queues).map(|queue| {
            SendTemplate::new(&SendSpec {
                topic: &production.topic,
                queue,
                run: production.run,
                producer,
                ordered: false,
                fill: &production.fill,
                serialization: production.serialization,
                kind: Kind::Half,
            })
        });
        Self {
            halves: halves.collect(),
            end: EndTemplate::new(production.serialization, oneway),
            oneway,
            sequences: vec![0; production.queues.into()],
            next: producer % production.queues,
            body_bytes: production.fill.bytes.len() + crate::stamp::STAMP_BYTES,
            asked: 0,
            stored: VecDeque::new(),
            ending: HashMap::new(),
            ends: 0,
            production,
        }
    }
}

impl Work for Transact {
    fn fill(&mut self, opaque: u32, due_ns: u64, out: &mut Vec<u8>) -> Next {
        while let Some(half) = self.stored.pop_front() {
            self.end.push(opaque, half.offset, half.position, out);
            if self.oneway {
                continue;
            }
            self.ends += 1;
            self.ending.insert(self.ends, half.begun_ns);
            return Next::Sent(END | self.ends);
        }
        let shared = &self.production.shared;
        if shared.is_over() || !shared.claim() {
            return if self.asked > 0 {
                Next::Wait
            } else {
                Next::Done
            };
        }
        let queue = usize::from(self.next);
        self.next = (self.next + 1) % self.production.queues;
        let sequence = self.sequences[queue];
        self.sequences[queue] += 1;
        self.asked += 1;
        let (born_ms, fill) = (shared.wall_ms(due_ns), &self.production.fill);
        self.halves[queue].push(opaque, sequence, due_ns, born_ms, fill, out);
        Next::Sent((queue as u64) << SEQUENCE_BITS | sequence)
    }

    fn answer(&mut self, answer: &Answer<'_>, tally: &mut Tally) {
        let reply = answer.reply;
        let ends = answer.token & END != 0;
        if !ends {
            self.asked -= 1;
        }
        if reply.code != 0 {
            tally.faults.refused(reply.code, reply.remark);
            return;
        }
        if ends {
            let begun_ns = self.ending.remove(&(answer.token & !END));
            let begun_ns = begun_ns.unwrap_or(answer.due_ns);
            tally.count(1, self.body_bytes);
            tally.time(answer.now_ns.saturating_sub(begun_ns));
            return;
        }
        match reply.queue_offset.zip(reply.position()) {
            Some((offset, position)) => {
                self.stored.push_back(Stored {
                    offset,
                    position,
                    begun_ns: answer.due_ns,
                });
                if self.oneway {
                    // Its end goes out with what is sent next; the broker takes it before that.
                    tally.count(1, self.body_bytes);
                    tally.time(answer.now_ns.saturating_sub(answer.due_ns));
                }
            }
            None => tally.faults.add(Fault::Unexpected, 1, || {
                format!("a half message was answered with {reply:?}")
            }),
        }
    }
}

/// `mqbench transactions`.
pub fn transactions(args: &TransactionsArgs) -> anyhow::Result<bool> {
    let TransactionsArgs {
        target,
        run,
        load,
        bodies,
        answered_ends,
    } = args;
    if load.rate.is_some() {
        bail!("transactions are measured in a closed loop only");
    }
    let plain = {
        let (place, shared) = (Place::prepare(target)?, shared(run));
        let production = place.production(&shared, run, bodies, None);
        let lanes = runs::produce_lanes(&place, &production, load)?;
        load::drive(
            lanes,
            &shared,
            &plan(run, load.count, "plain sends"),
            &place.bases,
        )?
    };
    let (place, shared) = (Place::prepare(target)?, shared(run));
    let production = place.production(&shared, run, bodies, None);
    let lanes = (0..load.connections).map(|producer| {
        Ok(Lane {
            stream: load::connect(&place.broker)?,
            work: Box::new(Transact::new(production.clone(), producer, !answered_ends)),
            window: load.window.into(),
            pace: None,
        })
    });
    let lanes = lanes.collect::<anyhow::Result<_>>()?;
    let course = plan(run, load.count, "transactions");
    let mut outcome = load::drive(lanes, &shared, &course, &place.bases)?;
    outcome.tally.faults.merge(plain.tally.faults.clone());
    let committed = outcome.tally.messages;
    let read = read_back(&place, args, committed, &mut outcome)?;
    if read != committed {
        outcome.tally.faults.add(Fault::Lost, 1, || {
            format!("{committed} transactions were committed, {read} messages are there")
        });
    }
    let rate = |outcome: &Outcome| {
        f64::from(u32::try_from(outcome.messages).unwrap_or(u32::MAX))
            / outcome.elapsed.as_secs_f64()
    };
    let (rate_of_plain, share) = (rate(&plain), rate(&outcome) / rate(&plain).max(1e-9));
    let asked = json!({
        "broker": place.broker, "topic": place.topic, "queues": place.queues, "body_bytes": bodies.body_size,
        "load": load_json(load), "answered_ends": answered_ends,
    });
    let report = Report {
        mode: "transactions",
        asked,
        outcome: &outcome,
        unit: "transaction",
        timed: if *answered_ends {
            "half to end"
        } else {
            "half"
        },
        more: json!({
            "plain_sends_per_second": rate_of_plain.round(),
            "share_of_plain_sends": (share * 1_000.0).round() / 1_000.0,
        }),
    };
    Ok(finish(&report, run))
}

/// Reads everything that was committed and compares it with what was sent; how many messages there are.
fn read_back(
    place: &Place,
    args: &TransactionsArgs,
    committed: u64,
    outcome: &mut Outcome,
) -> anyhow::Result<u64> {
    let mut control = Control::connect(&place.broker)?;
    let mut ends = || -> anyhow::Result<Vec<u64>> {
        (0..place.queues)
            .map(|queue| control.max_offset(&place.topic, queue))
            .collect()
    };
    // What is answered can be read a moment later.
    let there = |ends: &[u64]| -> u64 {
        let lengths = ends.iter().zip(&place.bases);
        lengths.map(|(end, base)| end.saturating_sub(*base)).sum()
    };
    let ends = control::patiently(|| {
        let ends = ends()?;
        if there(&ends) < committed {
            bail!(
                "{committed} transactions were committed, {} are there",
                there(&ends)
            );
        }
        Ok(ends)
    });
    let ends = ends.context("what was committed")?;
    let ranges: Vec<Range> = (0..place.queues)
        .zip(place.bases.iter().zip(&ends))
        .map(|(queue, (&begin, &end))| Range { queue, begin, end })
        .collect();
    let shared = shared(&args.run);
    let sources = place.sources(args.load.connections, false);
    let source = Source::Backlog { again: false };
    let consumption = place.consumption(&shared, &args.run, 32, source, sources);
    let lanes = runs::read_lanes(place, &consumption, &ranges, 1, None)?;
    let plan = Plan {
        warm_up: std::time::Duration::ZERO,
        end: End::Requests(None),
        server_pids: Vec::new(),
        label: None,
    };
    let mut reading = load::drive(lanes, &shared, &plan, &place.bases)?;
    let none: Option<&Ledger> = None;
    runs::compare(&mut reading, none, &consumption.sources);
    outcome.tally.faults.merge(reading.tally.faults);
    Ok(reading.tally.read.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Serialization;
    use crate::load::Shared;
    use crate::reply::Reply;
    use crate::stamp::Fill;
    use std::sync::Arc;
    use std::time::Duration;

    /// A half that is stored.
    const STORED: Reply<'static> = Reply {
        code: 0,
        opaque: 0,
        flag: 1,
        remark: b"",
        queue_id: None,
        queue_offset: Some(7),
        next_begin_offset: None,
        msg_id: b"7F0000010000270F00000000000000FF",
    };

    fn producer(oneway: bool) -> Transact {
        let production = Production {
            shared: Shared::new(1, Duration::from_secs(1)),
            topic: "T".to_owned(),
            queues: 2,
            run: 1,
            fill: Arc::new(Fill::new(64, 1)),
            serialization: Serialization::Json,
            sent: None,
        };
        Transact::new(production, 0, oneway)
    }

    fn answer(producer: &mut Transact, sent: Next, reply: &Reply<'_>, tally: &mut Tally) {
        let Next::Sent(token) = sent else {
            panic!("nothing was sent: {sent:?}")
        };
        let (due_ns, now_ns) = (10, 40);
        let answer = Answer {
            token,
            due_ns,
            now_ns,
            reply,
            body: b"",
        };
        producer.answer(&answer, tally);
    }

    #[test]
    fn a_half_is_followed_by_its_end_and_both_count_as_one() {
        let (mut producer, mut tally) = (producer(false), Tally::new(&[0, 0]));
        tally.measuring = true;
        let half = producer.fill(1_000_000_000, 10, &mut Vec::new());
        answer(&mut producer, half, &STORED, &mut tally);
        assert_eq!((tally.messages, producer.asked), (0, 0));
        let mut out = Vec::new();
        let end = producer.fill(1_000_000_001, 20, &mut out);
        let text = String::from_utf8_lossy(&out);
        assert!(
            text.contains("\"commitLogOffset\":\"0000000000000000255\""),
            "{text}"
        );
        answer(&mut producer, end, &Reply::default(), &mut tally);
        assert_eq!((tally.messages, tally.latency.max()), (1, 30));
        assert!(tally.faults.is_empty());
    }

    #[test]
    fn a_one_way_end_leaves_before_the_next_half() {
        let (mut producer, mut tally) = (producer(true), Tally::new(&[0, 0]));
        tally.measuring = true;
        let half = producer.fill(1_000_000_000, 10, &mut Vec::new());
        answer(&mut producer, half, &STORED, &mut tally);
        assert_eq!((tally.messages, tally.latency.max()), (1, 30));
        let mut out = Vec::new();
        assert!(
            matches!(producer.fill(1_000_000_001, 20, &mut out), Next::Sent(token) if token & END == 0)
        );
        let text = String::from_utf8_lossy(&out);
        let end = text.find(r#""code":37"#).unwrap();
        assert!(text.contains(r#""flag":2"#) && end < text.find(r#""code":310"#).unwrap());
    }

    #[test]
    fn a_half_without_a_place_is_a_fault() {
        let (mut producer, mut tally) = (producer(false), Tally::new(&[0, 0]));
        let half = producer.fill(1_000_000_000, 10, &mut Vec::new());
        answer(&mut producer, half, &Reply::default(), &mut tally);
        assert_eq!(tally.faults.counts().get(&Fault::Unexpected), Some(&1));
    }
}
