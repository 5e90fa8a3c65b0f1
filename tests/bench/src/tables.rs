//! What a broker keeps besides messages: how fast offsets are committed and topics are created.

use std::sync::Arc;

use anyhow::Context as _;
use common::clock::{Clock as _, SystemClock};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::args::{CommitArgs, TopicsArgs};
use crate::control::Control;
use crate::engine::{Answer, Lane, Next, Work};
use crate::frame::CommitTemplate;
use crate::load::{self, Shared};
use crate::process::Usage;
use crate::report::Report;
use crate::runs::{Place, finish, load_json, pace, plan, shared};
use crate::tally::Tally;

/// Commits that want an answer, each of another offset than the one before.
struct Commit {
    shared: Arc<Shared>,
    templates: Vec<CommitTemplate>,
    next: usize,
    offset: u64,
}

impl Work for Commit {
    fn fill(&mut self, opaque: u32, _due_ns: u64, out: &mut Vec<u8>) -> Next {
        if !self.shared.claim() {
            return Next::Done;
        }
        self.templates[self.next].push(opaque, self.offset, out);
        self.next = (self.next + 1) % self.templates.len();
        self.offset += 1;
        Next::Sent(0)
    }

    fn answer(&mut self, answer: &Answer<'_>, tally: &mut Tally) {
        if answer.reply.code != 0 {
            tally.faults.refused(answer.reply.code, answer.reply.remark);
            return;
        }
        tally.count(1, answer.body.len());
        tally.time(answer.now_ns.saturating_sub(answer.due_ns));
    }
}

/// `mqbench commit`: every connection commits for a group of its own.
pub fn commit(args: &CommitArgs) -> anyhow::Result<bool> {
    let CommitArgs { target, run, load } = args;
    let place = Place::prepare(target)?;
    let shared = shared(run);
    let mut control = Control::connect(&place.broker)?;
    let lanes = (0..load.connections)
        .map(|index| {
            let group = format!("mqbench_{:08x}_{index}", place.run);
            control.create_group(&group)?;
            let template = |queue| CommitTemplate::new(&group, &place.topic, queue, run.header);
            Ok(Lane {
                stream: load::connect(&place.broker)?,
                work: Box::new(Commit {
                    shared: Arc::clone(&shared),
                    templates: (0..place.queues).map(template).collect(),
                    next: 0,
                    offset: 1,
                }),
                window: load.window.into(),
                pace: pace(&shared, load.rate, index, load.connections),
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let outcome = load::drive(lanes, &shared, &plan(run, load.count, "commit"), &[])?;
    let asked = json!({
        "broker": place.broker, "topic": place.topic, "queues": place.queues, "load": load_json(load)
    });
    let report = Report {
        mode: "commit",
        asked,
        outcome: &outcome,
        unit: "commit",
        timed: "commit",
        more: serde_json::Value::Null,
    };
    Ok(finish(&report, run))
}

/// `mqbench topics`: creates topics one after the other, and says what that cost.
pub fn topics(args: &TopicsArgs) -> anyhow::Result<bool> {
    let clock = SystemClock::new();
    let usage = || args.server_pid.map(Usage::of).transpose();
    let mut control = Control::connect(&args.broker)?;
    let mut times = Histogram::<u64>::new(3).context("a histogram of times")?;
    let (run, before): (u32, _) = (rand::random(), usage()?);
    let began = clock.monotonic();
    for number in 0..args.count {
        let asked = clock.monotonic();
        control.create_topic(&format!("mqbench_{run:08x}_{number:06}"), args.queues)?;
        let took = clock.monotonic().saturating_sub(asked);
        times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
    let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
    let mut report = json!({
        "mode": "topics", "topics": args.count, "queues": args.queues, "seconds": seconds,
        "p50_us": times.value_at_quantile(0.5), "p99_us": times.value_at_quantile(0.99),
    });
    if let (Some(before), Some(after)) = (before, usage()?) {
        report["server"] = json!({
            "cpu_seconds": (after.cpu().saturating_sub(before.cpu())).as_secs_f64(),
            "rss_anon_bytes_before": before.rss_anon_bytes,
            "rss_anon_bytes_after": after.rss_anon_bytes,
        });
    }
    println!("{report}");
    Ok(true)
}
