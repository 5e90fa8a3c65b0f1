//! `kill -9` under load: what was acknowledged is there afterwards, at the place that was promised.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use tests::{Cluster, Connection, patiently};

use crate::SOON;

const TOPIC: &str = "killed";
const QUEUES: u32 = 4;
const ROUNDS: usize = 4;
/// Requests a connection keeps in flight.
const WINDOW: usize = 32;
/// Acknowledged messages before each kill.
const PER_ROUND: usize = 2_000;

/// (queue, offset) that an acknowledgement named, and the body it was for.
type Acknowledged = BTreeMap<(u32, i64), Vec<u8>>;

/// Sends windows of messages until the connection breaks.
fn load(
    address: &str,
    who: &str,
    acknowledged: &Mutex<Acknowledged>,
    stop: &AtomicBool,
) -> Result<()> {
    let mut connection = Connection::open(address)?;
    for window in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut sent = Vec::with_capacity(WINDOW);
        let mut frames = Vec::new();
        for place in 0..WINDOW {
            let number = window * WINDOW + place;
            let mut body = format!("{who}/{number}/").into_bytes();
            // Sizes that do not divide anything, so that records end everywhere in a segment.
            body.resize(body.len() + number * 37 % 3_001, b'.');
            let queue = u32::try_from(number)? % QUEUES;
            frames.extend(connection.send_frame(TOPIC, queue, "", &body));
            sent.push((connection.last_opaque(), queue, body));
        }
        connection.write(&frames)?;
        for _ in 0..WINDOW {
            let answer = connection.read()?;
            if answer.code != 0 {
                continue;
            }
            let of_opaque = sent.iter().find(|(opaque, ..)| *opaque == answer.opaque);
            let (_, queue, body) = of_opaque.context("an answer to no request")?;
            let place = (*queue, answer.number("queueOffset")?);
            let earlier = acknowledged
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .insert(place, body.clone());
            ensure!(earlier.is_none(), "{place:?} was given out twice");
        }
    }
    Ok(())
}

fn acknowledged_messages_survive(settings: &[(&str, &str)]) -> Result<()> {
    let mut cluster = Cluster::with(settings)?;
    Connection::open(&cluster.broker.address)?.create_topic(TOPIC, QUEUES)?;
    let acknowledged = Mutex::new(Acknowledged::new());
    let count = || {
        acknowledged
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .len()
    };
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        let address = cluster.broker.address.clone();
        let wanted = count() + PER_ROUND;
        thread::scope(|scope| -> Result<()> {
            let senders: Vec<_> = (0..3)
                .map(|sender| {
                    let (address, stop, acknowledged) = (&address, &stop, &acknowledged);
                    let who = format!("{round}-{sender}");
                    // Ends with the connection, which the kill breaks.
                    scope.spawn(move || load(address, &who, acknowledged, stop).err())
                })
                .collect();
            let loaded = patiently("enough is acknowledged", SOON, || {
                Ok((count() >= wanted).then_some(()))
            });
            let killed = cluster.broker.process.kill();
            stop.store(true, Ordering::Relaxed);
            let errors: Vec<_> = senders
                .into_iter()
                .filter_map(|s| s.join().ok().flatten())
                .collect();
            loaded.with_context(|| format!("{errors:?}"))?;
            let twice = errors
                .iter()
                .find(|error| error.to_string().contains("given out twice"));
            ensure!(twice.is_none(), "{twice:?}");
            killed
        })?;
        cluster.broker.start_again()?;
        check(
            &cluster,
            &acknowledged
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
        .with_context(|| format!("after kill {}", round + 1))?;
    }
    Ok(())
}

fn check(cluster: &Cluster, acknowledged: &Acknowledged) -> Result<()> {
    let mut connection = Connection::open(&cluster.broker.address)?;
    for queue in 0..QUEUES {
        let promised = acknowledged.range((queue, 0)..=(queue, i64::MAX));
        let last = promised
            .clone()
            .next_back()
            .map_or(-1, |((_, offset), _)| *offset);
        let bodies = connection.bodies(TOPIC, queue, 0)?;
        ensure!(
            i64::try_from(bodies.len())? > last,
            "queue {queue}: {} messages, offset {last} was acknowledged",
            bodies.len()
        );
        for ((_, offset), body) in promised {
            let found = &bodies[usize::try_from(*offset)?];
            ensure!(
                found == body,
                "queue {queue} offset {offset}: {:?} instead of {:?}",
                String::from_utf8_lossy(&found[..found.len().min(20)]),
                String::from_utf8_lossy(&body[..body.len().min(20)])
            );
        }
        // No record may be there twice: offsets were counted on from the right place.
        let mut sorted = bodies.clone();
        sorted.sort_unstable();
        sorted.dedup();
        ensure!(
            sorted.len() == bodies.len(),
            "queue {queue} has a message twice"
        );
    }
    Ok(())
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged() -> Result<()> {
    acknowledged_messages_survive(&[])
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged_with_sync_flush() -> Result<()> {
    acknowledged_messages_survive(&[("flushDiskType", "SYNC_FLUSH")])
}

/// Small segments: kills fall close to where one ends and the next begins.
#[test]
fn kill_9_under_load_loses_nothing_acknowledged_across_segments() -> Result<()> {
    acknowledged_messages_survive(&[
        ("mappedFileSizeCommitLog", "1048576"),
        ("maxMessageSize", "65536"),
    ])
}
