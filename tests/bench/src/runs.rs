//! The kinds of run: what is prepared, which connections do what, and what is compared at the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::args::{Bodies, ConsumeArgs, E2eArgs, Load, ProduceArgs, RouteArgs, Run, Target};
use crate::control::{self, Control};
use crate::engine::{Lane, Pace};
use crate::frame::RouteTemplate;
use crate::ledger::{Ledger, Sources, audit};
use crate::load::{self, End, Outcome, Plan, Shared};
use crate::produce::{Produce, Production, Sent};
use crate::read::{Consumption, Range, Read, Source};
use crate::report::Report;
use crate::route::AskRoute;
use crate::stamp::Fill;
use crate::tally::Fault;

/// Measured time when neither a duration nor a count is asked for.
const DURATION: Duration = Duration::from_secs(10);

/// Load before measuring, when nothing else is asked for and the run ends by time.
const WARM_UP: Duration = Duration::from_secs(2);

/// End to end: messages per second unless another rate or a closed loop is asked for.
const E2E_RATE: u64 = 500;

/// How long the broker may hold a pull; below every request's time limit.
pub const SUSPEND_MS: u64 = 5_000;

/// In flight per connection while a backlog is sent.
const FILL_WINDOW: usize = 16;

/// A topic at a broker, ready to be used.
pub struct Place {
    pub broker: String,
    pub topic: String,
    pub queues: u16,
    /// Random number of this run.
    pub run: u32,
    /// Per queue the offset after what is there already.
    pub bases: Vec<u64>,
}

impl Place {
    /// A topic beside the one of [`Self::prepare`].
    pub fn prepare_beside(target: &Target) -> anyhow::Result<Self> {
        let topic = target.topic.as_ref().map(|topic| format!("{topic}_beside"));
        Self::prepare(&Target {
            topic,
            ..target.clone()
        })
    }

    pub fn prepare(target: &Target) -> anyhow::Result<Self> {
        let broker = match (&target.broker, &target.namesrv) {
            (Some(broker), _) => broker.clone(),
            (None, Some(namesrv)) => control::find_broker(namesrv)?,
            (None, None) => bail!("say where the broker is: --broker or --namesrv HOST:PORT"),
        };
        let run: u32 = rand::random();
        let topic = target
            .topic
            .clone()
            .unwrap_or_else(|| format!("mqbench_{run:08x}"));
        let mut control = Control::connect(&broker)?;
        control.create_topic(&topic, target.queues)?;
        let bases = (0..target.queues)
            .map(|queue| control.max_offset(&topic, queue))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            broker,
            topic,
            queues: target.queues,
            run,
            bases,
        })
    }

    pub fn production(
        &self,
        shared: &Arc<Shared>,
        run: &Run,
        bodies: &Bodies,
        sent: Option<Arc<Sent>>,
    ) -> Production {
        Production {
            shared: Arc::clone(shared),
            topic: self.topic.clone(),
            queues: self.queues,
            run: self.run,
            fill: Arc::new(Fill::new(bodies.body_size, self.run)),
            serialization: run.header,
            sent,
        }
    }

    pub fn consumption(
        &self,
        shared: &Arc<Shared>,
        run: &Run,
        batch: u32,
        source: Source,
        sources: Sources,
    ) -> Consumption {
        Consumption {
            shared: Arc::clone(shared),
            topic: self.topic.clone(),
            source,
            sources: Arc::new(Mutex::new(sources)),
            max_messages: batch,
            suspend_ms: SUSPEND_MS,
            serialization: run.header,
        }
    }

    /// The producers of this run, numbered as they number themselves.
    pub fn sources(&self, producers: u16, ordered: bool) -> Sources {
        let mut sources = Sources::default();
        for producer in 0..producers {
            sources.number(self.run, producer, ordered);
        }
        sources
    }
}

pub fn shared(run: &Run) -> Arc<Shared> {
    Shared::new(run.threads.into(), run.timeout)
}

pub fn plan(run: &Run, count: Option<u64>, label: &'static str) -> Plan {
    let end = match count {
        Some(_) => End::Requests(count),
        None => End::After(run.duration.unwrap_or(DURATION)),
    };
    let warm_up = run.warmup.unwrap_or(if count.is_some() {
        Duration::ZERO
    } else {
        WARM_UP
    });
    Plan {
        warm_up,
        end,
        server_pids: run.server_pid.clone(),
        label: (!run.quiet).then_some(label),
    }
}

/// When the requests of connection `index` of `connections` are due, so that all together make `rate` per second.
pub fn pace(shared: &Shared, rate: Option<u64>, index: u16, connections: u16) -> Option<Pace> {
    let every_ns = 1_000_000_000 * u64::from(connections) / rate?;
    let first_ns = shared.now_ns() + every_ns * u64::from(index) / u64::from(connections);
    Some(Pace {
        first_ns,
        every_ns: every_ns.max(1),
    })
}

pub fn load_json(load: &Load) -> serde_json::Value {
    json!({ "connections": load.connections, "window": load.window, "rate": load.rate, "count": load.count })
}

pub fn check_acknowledged(outcome: &mut Outcome) {
    let holes = outcome.tally.acknowledged.holes();
    outcome.tally.faults.add(Fault::Offset, holes, || {
        format!("{holes} offsets between acknowledged ones are missing")
    });
}

/// Prints the report; whether everything was right.
pub fn finish(report: &Report<'_>, run: &Run) -> bool {
    if !run.quiet {
        println!("{}", report.table());
    }
    println!("{}", report.json());
    if report.outcome.messages == 0 {
        eprintln!("mqbench: nothing was answered in the measured time");
    }
    report.outcome.messages > 0 && report.outcome.tally.faults.is_empty()
}

pub fn produce_lanes(
    place: &Place,
    production: &Production,
    load: &Load,
) -> anyhow::Result<Vec<Lane>> {
    let ordered = load.window == 1;
    (0..load.connections)
        .map(|index| {
            Ok(Lane {
                stream: load::connect(&place.broker)?,
                work: Box::new(Produce::new(production.clone(), index, ordered)),
                window: load.window.into(),
                pace: pace(&production.shared, load.rate, index, load.connections),
            })
        })
        .collect()
}

/// `mqbench produce`.
pub fn produce(args: &ProduceArgs) -> anyhow::Result<bool> {
    let ProduceArgs {
        target,
        run,
        load,
        bodies,
    } = args;
    let place = Place::prepare(target)?;
    let shared = shared(run);
    let lanes = produce_lanes(&place, &place.production(&shared, run, bodies, None), load)?;
    let mut outcome = load::drive(
        lanes,
        &shared,
        &plan(run, load.count, "produce"),
        &place.bases,
    )?;
    check_acknowledged(&mut outcome);
    let asked = json!({
        "broker": place.broker, "topic": place.topic, "queues": place.queues, "body_bytes": bodies.body_size,
        "load": load_json(load),
    });
    Ok(finish(
        &Report {
            mode: "produce",
            asked,
            outcome: &outcome,
            unit: "message",
            timed: "send",
            more: serde_json::Value::Null,
        },
        run,
    ))
}

/// Sends the backlog of a consume run; what was acknowledged.
fn fill(place: &Place, args: &ConsumeArgs) -> anyhow::Result<Ledger> {
    let shared = shared(&args.run);
    let production = place.production(&shared, &args.run, &args.bodies, None);
    let lanes = (0..args.fill_connections)
        .map(|index| {
            let work = Box::new(Produce::new(production.clone(), index, false));
            Ok(Lane {
                stream: load::connect(&place.broker)?,
                work,
                window: FILL_WINDOW,
                pace: None,
            })
        })
        .collect::<anyhow::Result<_>>()?;
    let label = (!args.run.quiet).then_some("fill");
    let plan = Plan {
        warm_up: Duration::ZERO,
        end: End::Requests(Some(args.fill)),
        server_pids: Vec::new(),
        label,
    };
    let mut outcome = load::drive(lanes, &shared, &plan, &place.bases)?;
    check_acknowledged(&mut outcome);
    if !outcome.tally.faults.is_empty() || outcome.tally.acknowledged.len() != args.fill {
        bail!("the backlog could not be sent: {:?}", outcome.tally.faults);
    }
    Ok(outcome.tally.acknowledged)
}

/// Readers of these ranges on so many connections.
pub fn read_lanes(
    place: &Place,
    consumption: &Consumption,
    ranges: &[Range],
    connections: u16,
    window: Option<u16>,
) -> anyhow::Result<Vec<Lane>> {
    if usize::from(connections) > ranges.len() {
        bail!(
            "{connections} connections cannot share {} queues: each queue is read on one connection",
            ranges.len()
        );
    }
    (0..usize::from(connections))
        .map(|index| {
            let own: Vec<Range> = ranges
                .iter()
                .copied()
                .skip(index)
                .step_by(connections.into())
                .collect();
            let window = window.map_or(own.len(), usize::from);
            let work = Box::new(Read::new(consumption.clone(), &own));
            Ok(Lane {
                stream: load::connect(&place.broker)?,
                work,
                window,
                pace: None,
            })
        })
        .collect()
}

/// Notes what the comparison of everything read with what was acknowledged finds.
pub fn compare(outcome: &mut Outcome, acknowledged: Option<&Ledger>, sources: &Mutex<Sources>) {
    let sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
    let found = audit(&outcome.tally.read, acknowledged, &sources);
    for (fault, count) in [
        (Fault::Lost, found.lost),
        (Fault::Doubled, found.doubled),
        (Fault::Reordered, found.reordered),
    ] {
        outcome.tally.faults.add(fault, count, || {
            format!("the whole topic compared: {count} {fault:?}")
        });
    }
}

/// `mqbench consume`.
pub fn consume(args: &ConsumeArgs) -> anyhow::Result<bool> {
    let ConsumeArgs { target, run, .. } = args;
    let place = Place::prepare(target)?;
    let (acknowledged, ranges) = if args.fill > 0 {
        let acknowledged = fill(&place, args)?;
        let ends = acknowledged.ends();
        let ranges: Vec<Range> = (0..place.queues)
            .zip(place.bases.iter().zip(ends))
            .map(|(queue, (&begin, end))| Range { queue, begin, end })
            .collect();
        (Some(acknowledged), ranges)
    } else {
        let mut control = Control::connect(&place.broker)?;
        let ranges = (0..place.queues)
            .zip(&place.bases)
            .map(|(queue, &end)| {
                Ok(Range {
                    queue,
                    begin: control.min_offset(&place.topic, queue)?,
                    end,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        (None, ranges)
    };
    if ranges.iter().all(|range| range.begin >= range.end) {
        bail!(
            "topic {} holds no message: send some first, or use --fill",
            place.topic
        );
    }
    let shared = shared(run);
    let again = run.duration.is_some();
    let sources = place.sources(
        if args.fill > 0 {
            args.fill_connections
        } else {
            0
        },
        false,
    );
    let consumption =
        place.consumption(&shared, run, args.batch, Source::Backlog { again }, sources);
    let lanes = read_lanes(&place, &consumption, &ranges, args.connections, args.window)?;
    let label = (!run.quiet).then_some("consume");
    let (warm_up, end) = match run.duration {
        Some(duration) => (run.warmup.unwrap_or(WARM_UP), End::After(duration)),
        None => (Duration::ZERO, End::Requests(None)),
    };
    let plan = Plan {
        warm_up,
        end,
        server_pids: run.server_pid.clone(),
        label,
    };
    let begins: Vec<u64> = ranges.iter().map(|range| range.begin).collect();
    let mut outcome = load::drive(lanes, &shared, &plan, &begins)?;
    compare(&mut outcome, acknowledged.as_ref(), &consumption.sources);
    let asked = json!({
        "broker": place.broker, "topic": place.topic, "queues": place.queues, "body_bytes": args.bodies.body_size,
        "fill": args.fill, "connections": args.connections, "window": args.window, "batch": args.batch,
    });
    Ok(finish(
        &Report {
            mode: "consume",
            asked,
            outcome: &outcome,
            unit: "message",
            timed: "pull",
            more: serde_json::Value::Null,
        },
        run,
    ))
}

/// `mqbench e2e`.
pub fn e2e(args: &E2eArgs) -> anyhow::Result<bool> {
    let E2eArgs {
        target,
        run,
        load,
        bodies,
        consumers,
        closed,
    } = args;
    let rate = if *closed {
        None
    } else {
        load.rate.or(Some(E2E_RATE))
    };
    let load = Load { rate, ..*load };
    if run.timeout <= Duration::from_millis(SUSPEND_MS) {
        bail!(
            "--timeout must be above {} s, the time a pull may be held",
            SUSPEND_MS / 1_000
        );
    }
    let place = Place::prepare(target)?;
    let shared = shared(run);
    let sent = Sent::new(&place.bases);
    let production = place.production(&shared, run, bodies, Some(Arc::clone(&sent)));
    let sources = place.sources(load.connections, load.window == 1);
    let consumption = place.consumption(&shared, run, 32, Source::Follow(sent), sources);
    let ranges: Vec<Range> = (0..place.queues)
        .zip(&place.bases)
        .map(|(queue, &begin)| Range {
            queue,
            begin,
            end: u64::MAX,
        })
        .collect();
    let mut lanes = read_lanes(&place, &consumption, &ranges, *consumers, None)?;
    lanes.extend(produce_lanes(&place, &production, &load)?);
    let mut outcome = load::drive(lanes, &shared, &plan(run, load.count, "e2e"), &place.bases)?;
    check_acknowledged(&mut outcome);
    let acknowledged = std::mem::take(&mut outcome.tally.acknowledged);
    compare(&mut outcome, Some(&acknowledged), &consumption.sources);
    let asked = json!({
        "broker": place.broker, "topic": place.topic, "queues": place.queues, "body_bytes": bodies.body_size,
        "load": load_json(&load), "consumers": consumers,
    });
    Ok(finish(
        &Report {
            mode: "e2e",
            asked,
            outcome: &outcome,
            unit: "message",
            timed: "send to arrival",
            more: serde_json::Value::Null,
        },
        run,
    ))
}

/// `mqbench route`.
pub fn route(args: &RouteArgs) -> anyhow::Result<bool> {
    let RouteArgs { target, run, load } = args;
    let namesrv = target
        .namesrv
        .as_deref()
        .context("say where the name server is: --namesrv HOST:PORT")?;
    let topic = if target.broker.is_some() || target.topic.is_none() {
        Place::prepare(target)?.topic
    } else {
        target.topic.clone().unwrap_or_default()
    };
    Control::connect(namesrv)?.wait_for_route(&topic, target.queues)?;
    let shared = shared(run);
    let lanes = (0..load.connections)
        .map(|index| {
            let template = RouteTemplate::new(&topic, run.header);
            Ok(Lane {
                stream: load::connect(namesrv)?,
                work: Box::new(AskRoute::new(Arc::clone(&shared), &topic, template)),
                window: load.window.into(),
                pace: pace(&shared, load.rate, index, load.connections),
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let outcome = load::drive(lanes, &shared, &plan(run, load.count, "route"), &[])?;
    let asked = json!({ "namesrv": namesrv, "topic": topic, "queues": target.queues, "load": load_json(load) });
    Ok(finish(
        &Report {
            mode: "route",
            asked,
            outcome: &outcome,
            unit: "route",
            timed: "query",
            more: serde_json::Value::Null,
        },
        run,
    ))
}
