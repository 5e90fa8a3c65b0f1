use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use common::message::batch::{self, BatchMessage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::bodies::properties;
use super::books::{Books, Queue};
use super::load::Pace;
use crate::Connection;

/// Requests a producer keeps in flight while it runs at full speed, and once enough was sent.
const WINDOW: usize = 64;
const CALM_WINDOW: usize = 2;

/// Between two requests of a producer that has sent enough: the store stays of a size that can be
/// read again and again.
const CALM_PAUSE: Duration = Duration::from_millis(4);

/// Every so manieth request is a batch.
const BATCH_EVERY: u32 = 20;

/// A request that was not answered yet.
struct InFlight {
    queue: Queue,
    /// Numbers of its messages.
    first: u64,
    count: u64,
}

/// Sends until `pace` says that it is over or the connection breaks, and books every promise.
pub(super) fn produce(books: &Books, address: &str, seed: u64, pace: &Pace) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let queues: Vec<Queue> = books.queues().cloned().collect();
    let mut connection = Connection::open(address)?;
    let mut in_flight = HashMap::new();
    let mut frames = Vec::new();
    while !pace.over() {
        let window = if pace.enough(books) {
            std::thread::sleep(CALM_PAUSE);
            CALM_WINDOW
        } else {
            WINDOW
        };
        frames.clear();
        while in_flight.len() < window {
            let queue = &queues[rng.random_range(0..queues.len())];
            let count = if rng.random_ratio(1, BATCH_EVERY) {
                rng.random_range(2..=5)
            } else {
                1
            };
            let (frame, sent) = request(&mut connection, books, queue, count)?;
            frames.extend(frame);
            in_flight.insert(connection.last_opaque(), sent);
        }
        connection.write(&frames)?;
        loop {
            let answer = connection.read()?;
            let sent = in_flight
                .remove(&answer.opaque)
                .context("an answer to no request")?;
            if answer.code == 0 {
                let offset = answer.number("queueOffset")?;
                for (offset, number) in (offset..).zip(sent.first..sent.first + sent.count) {
                    books.note_promise(&sent.queue, offset, number);
                }
            } else {
                books.note_refusal();
            }
            if !connection.has_answer() {
                break;
            }
        }
    }
    Ok(())
}

/// The frame of a request with `count` new messages; more than one are sent as a batch.
fn request(
    connection: &mut Connection,
    books: &Books,
    queue: &Queue,
    count: u64,
) -> Result<(Vec<u8>, InFlight)> {
    let first = books.next_numbers(count);
    let sent = InFlight {
        queue: queue.clone(),
        first,
        count,
    };
    let frame = if count == 1 {
        let body = books.bodies.body(first);
        connection.send_frame(&queue.topic, queue.id, &properties(first), &body)
    } else {
        let mut body = Vec::new();
        for number in first..first + count {
            let message = BatchMessage {
                flag: 0,
                body: &books.bodies.body(number),
                properties: &properties(number),
            };
            batch::encode(&message, &mut body)?;
        }
        connection.batch_frame(&queue.topic, queue.id, &body)
    };
    Ok((frame, sent))
}
