//! `mqbench timers`: how exactly timers come while live traffic flows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::args::{Load, TimersArgs};
use crate::engine::{Answer, Lane, Next, Work};
use crate::frame::{Kind, PullTemplate, SendSpec, SendTemplate};
use crate::load::{self, End, Phase, Plan, Shared};
use crate::produce::{Production, Sent};
use crate::read::{Range, Source};
use crate::record;
use crate::report::{Report, latency};
use crate::runs::{self, Place, finish, shared};
use crate::stamp;
use crate::tally::{Fault, Tally, histogram};

/// How long after the last timer the run goes on.
const AFTER: Duration = Duration::from_secs(2);
/// Timers in flight on each connection that sends them.
const WINDOW: usize = 64;
/// Live messages in flight at most.
const LIVE_WINDOW: u16 = 4_096;
const NS_PER_MS: u64 = 1_000_000;

/// What is known of all timers of a run.
struct Timers {
    /// When the first is due, in milliseconds since 1970, and over how many milliseconds they are spread.
    first_ms: u64,
    spread_ms: u64,
    state: Mutex<State>,
}

struct State {
    next: usize,
    acknowledged: Vec<bool>,
    seen: Vec<bool>,
    /// Acknowledged after it was due.
    late_sends: u64,
    outstanding: usize,
    /// From the due time to when it was stored, and to when it was read.
    stored: Histogram<u64>,
    read: Histogram<u64>,
}

impl Timers {
    fn new(count: usize, first_ms: u64, spread: Duration) -> Arc<Self> {
        Arc::new(Self {
            first_ms,
            spread_ms: u64::try_from(spread.as_millis()).unwrap_or(u64::MAX),
            state: Mutex::new(State {
                next: 0,
                acknowledged: vec![false; count],
                seen: vec![false; count],
                late_sends: 0,
                outstanding: count,
                stored: histogram(),
                read: histogram(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due_ms(&self, index: usize, count: usize) -> u64 {
        let (index, count) = (index as u64, (count as u64).max(1));
        self.first_ms + self.spread_ms.saturating_mul(index) / count
    }

    /// Notes that timer `index` was read at `now_ms`; false when it was before.
    fn note(&self, index: usize, stored_ms: u64, now_ms: u64, tally: &mut Tally) {
        let mut state = self.lock();
        let due_ms = self.due_ms(index, state.seen.len());
        let Some(seen) = state.seen.get_mut(index) else {
            tally.faults.add(Fault::Unexpected, 1, || {
                format!("timer {index} was never sent")
            });
            return;
        };
        if std::mem::replace(seen, true) {
            tally.faults.add(Fault::Doubled, 1, || {
                format!("timer {index}, due at {due_ms}, came again")
            });
            return;
        }
        if stored_ms < due_ms {
            tally.faults.add(Fault::Early, 1, || {
                format!("timer {index}, due at {due_ms}, was delivered at {stored_ms}")
            });
        }
        state.outstanding -= 1;
        let late = |at_ms: u64| at_ms.saturating_sub(due_ms) * NS_PER_MS;
        state.stored.saturating_record(late(stored_ms));
        state.read.saturating_record(late(now_ms));
    }

    /// What the report has of them; the lost become faults.
    fn figures(&self, tally: &mut Tally) -> Value {
        let state = self.lock();
        let pairs = state.acknowledged.iter().zip(&state.seen);
        let lost = pairs.filter(|(sent, seen)| **sent && !**seen).count() as u64;
        tally
            .faults
            .add(Fault::Lost, lost, || format!("{lost} timers never came"));
        tally.faults.add(Fault::Unexpected, state.late_sends, || {
            format!(
                "{} timers were acknowledged after they were due: a longer --lead is needed",
                state.late_sends
            )
        });
        let acknowledged = state.acknowledged.iter().filter(|sent| **sent).count();
        json!({
            "timers": acknowledged,
            "timers_read": state.read.len(),
            "stored_after_due_us": latency(&state.stored),
            "read_after_due_us": latency(&state.read),
        })
    }
}

/// Sends timers, as fast as they are acknowledged.
struct Set {
    production: Production,
    timers: Arc<Timers>,
    templates: Vec<SendTemplate>,
}

impl Work for Set {
    fn fill(&mut self, opaque: u32, due_ns: u64, out: &mut Vec<u8>) -> Next {
        let (index, count) = {
            let mut state = self.timers.lock();
            let (index, count) = (state.next, state.seen.len());
            state.next = (index + 1).min(count);
            (index, count)
        };
        if index == count {
            return Next::Done;
        }
        let shared = &self.production.shared;
        self.templates[index % self.templates.len()].push_timer(
            (opaque, self.timers.due_ms(index, count)),
            index as u64,
            (due_ns, shared.wall_ms(due_ns)),
            &self.production.fill,
            out,
        );
        Next::Sent(index as u64)
    }

    fn answer(&mut self, answer: &Answer<'_>, tally: &mut Tally) {
        let mut state = self.timers.lock();
        if answer.reply.code != 0 {
            state.outstanding -= 1;
            tally.faults.refused(answer.reply.code, answer.reply.remark);
            return;
        }
        let index = usize::try_from(answer.token).unwrap_or(usize::MAX);
        let due_ms = self.timers.due_ms(index, state.seen.len());
        if self.production.shared.wall_ms(answer.now_ns) > due_ms {
            state.late_sends += 1;
        }
        if let Some(acknowledged) = state.acknowledged.get_mut(index) {
            *acknowledged = true;
        }
    }
}

/// Reads them as they come.
struct Await {
    shared: Arc<Shared>,
    timers: Arc<Timers>,
    run: u32,
    queues: Vec<(PullTemplate, u64)>,
    idle: Vec<usize>,
    last_progress_ns: u64,
}

impl Work for Await {
    fn fill(&mut self, opaque: u32, _due_ns: u64, out: &mut Vec<u8>) -> Next {
        let Some(index) = self.idle.pop() else {
            return Next::Wait;
        };
        let (template, offset) = &self.queues[index];
        template.push(opaque, *offset, out);
        Next::Sent(index as u64)
    }

    fn answer(&mut self, answer: &Answer<'_>, tally: &mut Tally) {
        let index = usize::try_from(answer.token).unwrap_or(0);
        self.idle.push(index);
        let now_ms = self.shared.wall_ms(answer.now_ns);
        let mut rest = match answer.reply.code {
            0 => answer.body,
            // Nothing there yet.
            19 | 20 => return,
            code => {
                tally.faults.refused(code, answer.reply.remark);
                return;
            }
        };
        self.last_progress_ns = answer.now_ns;
        while let Some((record, after)) = record::first(rest) {
            rest = after;
            let next = &mut self.queues[index].1;
            if record.queue_offset != *next {
                let (queue, offset) = (record.queue_id, record.queue_offset);
                tally.faults.add(Fault::Offset, 1, || {
                    format!("timers, queue {queue}: offset {offset} instead of {next}")
                });
            }
            *next = record.queue_offset + 1;
            let stamp = stamp::open(record.body, record.body_crc);
            match stamp.filter(|stamp| stamp.run == self.run) {
                Some(stamp) => {
                    let number = usize::try_from(stamp.sequence).unwrap_or(usize::MAX);
                    self.timers.note(number, record.stored_ms, now_ms, tally);
                }
                None => tally.faults.add(Fault::Altered, 1, || {
                    format!("altered body of a timer in queue {}", record.queue_id)
                }),
            }
        }
    }

    fn may_leave(&self) -> bool {
        let waited_ns = self.shared.now_ns().saturating_sub(self.last_progress_ns);
        let done = self.timers.lock().outstanding == 0;
        self.shared.phase() == Phase::Drain && (done || waited_ns > self.shared.timeout_ns)
    }
}

/// `mqbench timers`.
pub fn timers(args: &TimersArgs) -> anyhow::Result<bool> {
    let TimersArgs {
        target,
        run,
        bodies,
        timers: count,
        spread,
        lead,
        ..
    } = args;
    if run.timeout <= Duration::from_millis(runs::SUSPEND_MS) {
        bail!("--timeout must be longer than a pull may be held");
    }
    if run.warmup.is_some() || run.duration.is_some() {
        bail!("the lead is the warm-up, and the spread the duration");
    }
    let (live, waiting) = (Place::prepare(target)?, Place::prepare_beside(target)?);
    let shared = shared(run);
    let first_ms = shared.wall_ms(shared.now_ns()) + u64::try_from(lead.as_millis())?;
    let timers = Timers::new(*count as usize, first_ms, *spread);

    let sent = Sent::new(&live.bases);
    let load = Load {
        connections: 1,
        window: LIVE_WINDOW,
        rate: Some(args.rate),
        count: None,
    };
    let production = live.production(&shared, run, bodies, Some(Arc::clone(&sent)));
    let sources = live.sources(1, false);
    let consumption = live.consumption(&shared, run, 32, Source::Follow(sent), sources);
    let ranges: Vec<Range> = (0..live.queues)
        .zip(&live.bases)
        .map(|(queue, &begin)| Range {
            queue,
            begin,
            end: u64::MAX,
        })
        .collect();
    let mut lanes = runs::read_lanes(&live, &consumption, &ranges, 1, None)?;
    lanes.extend(runs::produce_lanes(&live, &production, &load)?);
    lanes.push(await_lane(&waiting, &shared, &timers, args)?);
    for connection in 0..args.connections {
        lanes.push(set_lane(&waiting, &shared, &timers, args, connection)?);
    }
    let plan = Plan {
        warm_up: *lead,
        end: End::After(*spread + AFTER),
        server_pids: run.server_pid.clone(),
        label: (!run.quiet).then_some("timers"),
    };
    let mut outcome = load::drive(lanes, &shared, &plan, &live.bases)?;
    runs::check_acknowledged(&mut outcome);
    let acknowledged = std::mem::take(&mut outcome.tally.acknowledged);
    runs::compare(&mut outcome, Some(&acknowledged), &consumption.sources);
    let more = timers.figures(&mut outcome.tally);
    let asked = json!({
        "broker": live.broker, "topic": live.topic, "queues": live.queues, "body_bytes": bodies.body_size,
        "timers": count, "spread_s": spread.as_secs_f64(), "lead_s": lead.as_secs_f64(), "rate": args.rate,
        "connections": args.connections,
    });
    let report = Report {
        mode: "timers",
        asked,
        outcome: &outcome,
        unit: "message",
        timed: "live: send to arrival",
        more,
    };
    Ok(finish(&report, run))
}

fn set_lane(
    place: &Place,
    shared: &Arc<Shared>,
    timers: &Arc<Timers>,
    args: &TimersArgs,
    connection: u16,
) -> anyhow::Result<Lane> {
    let production = place.production(shared, &args.run, &args.bodies, None);
    let templates = (0..place.queues).map(|queue| {
        SendTemplate::new(&SendSpec {
            topic: &place.topic,
            queue,
            run: place.run,
            producer: connection,
            ordered: false,
            fill: &production.fill,
            serialization: args.run.header,
            kind: Kind::Timer,
        })
    });
    Ok(Lane {
        stream: load::connect(&place.broker)?,
        work: Box::new(Set {
            templates: templates.collect(),
            timers: Arc::clone(timers),
            production,
        }),
        window: WINDOW,
        pace: None,
    })
}

fn await_lane(
    place: &Place,
    shared: &Arc<Shared>,
    timers: &Arc<Timers>,
    args: &TimersArgs,
) -> anyhow::Result<Lane> {
    let queues = (0..place.queues).zip(&place.bases).map(|(queue, &base)| {
        let header = args.run.header;
        let template = PullTemplate::new(&place.topic, queue, 32, runs::SUSPEND_MS, header);
        (template, base)
    });
    Ok(Lane {
        stream: load::connect(&place.broker)?,
        work: Box::new(Await {
            shared: Arc::clone(shared),
            timers: Arc::clone(timers),
            run: place.run,
            queues: queues.collect(),
            idle: (0..place.queues.into()).collect(),
            last_progress_ns: shared.now_ns(),
        }),
        window: place.queues.into(),
        pace: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_are_spread_evenly() {
        let timers = Timers::new(4, 1_000, Duration::from_millis(100));
        let due: Vec<u64> = (0..4).map(|index| timers.due_ms(index, 4)).collect();
        assert_eq!(due, [1_000, 1_025, 1_050, 1_075]);
    }

    #[test]
    fn what_comes_early_twice_or_never_is_a_fault() {
        let timers = Timers::new(4, 1_000, Duration::from_millis(100));
        timers.lock().acknowledged = vec![true; 4];
        let mut tally = Tally::new(&[]);
        timers.note(0, 1_000, 1_001, &mut tally);
        timers.note(1, 1_040, 1_045, &mut tally);
        assert!(tally.faults.is_empty());
        timers.note(1, 1_050, 1_055, &mut tally);
        timers.note(2, 1_049, 1_060, &mut tally);
        let figures = timers.figures(&mut tally);
        let counts = tally.faults.counts();
        for fault in [Fault::Doubled, Fault::Early, Fault::Lost] {
            assert_eq!(counts.get(&fault), Some(&1), "{fault:?}");
        }
        assert_eq!(figures["timers_read"], 3);
        assert!(figures["read_after_due_us"]["max"].as_f64() >= Some(20_000.0));
    }
}
