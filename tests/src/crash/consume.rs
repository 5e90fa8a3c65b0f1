use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::books::{Books, Fault, Queue};
use super::load::Pace;
use crate::{CONSUMER_GROUP, Connection, records};

/// How long a pull waits at the broker; also how late a consumer notices that it should end.
const PULL_WAIT: Duration = Duration::from_millis(250);

/// Answers with messages between two commits of a queue.
const COMMIT_EVERY: u32 = 8;

/// Reads every queue from where its consumer is, with a pull of each waiting at the broker all the
/// time, and commits now and then; until `pace` says that it is over or a connection breaks.
pub(super) fn consume(books: &Books, address: &str, pace: &Pace) -> Result<()> {
    let mut pulls = Connection::open(address)?;
    let mut commits = Connection::open(address)?;
    let mut topics: Vec<&str> = books.queues().map(|queue| &*queue.topic).collect();
    topics.dedup();
    commits.join(&topics)?;
    let mut waiting: HashMap<i64, &Queue> = HashMap::new();
    let mut answers: HashMap<&Queue, u32> = HashMap::new();
    for queue in books.queues() {
        ask(&mut pulls, books, queue, &mut waiting)?;
    }
    while !pace.over() {
        let answer = pulls.read()?;
        let queue = waiting
            .remove(&answer.opaque)
            .context("an answer to no pull")?;
        match answer.code {
            0 => {
                books.note_seen(queue, &records(&answer.body)?);
                let count = answers.entry(queue).or_default();
                *count += 1;
                if count.is_multiple_of(COMMIT_EVERY) {
                    commit(&mut commits, books, queue)?;
                }
            }
            // Nothing new within the time.
            19 => {}
            code => {
                let text = format!("{queue}: a pull was answered {code} {}", answer.remark);
                books.fault(Fault::Other, text);
            }
        }
        ask(&mut pulls, books, queue, &mut waiting)?;
    }
    Ok(())
}

fn ask<'a>(
    pulls: &mut Connection,
    books: &Books,
    queue: &'a Queue,
    waiting: &mut HashMap<i64, &'a Queue>,
) -> Result<()> {
    let position = books.page(queue).position;
    let frame = pulls.pull_frame(&queue.topic, queue.id, position, PULL_WAIT);
    waiting.insert(pulls.last_opaque(), queue);
    pulls.write(&frame)
}

fn commit(commits: &mut Connection, books: &Books, queue: &Queue) -> Result<()> {
    let position = books.page(queue).position;
    books.note_asked(queue, position);
    let (id, offset) = (queue.id.to_string(), position.to_string());
    let fields = [
        ("consumerGroup", CONSUMER_GROUP),
        ("topic", queue.topic.as_str()),
        ("queueId", &id),
        ("commitOffset", &offset),
    ];
    let answer = commits.call(15, &fields, &[])?;
    if answer.code == 0 {
        books.note_committed(queue, position);
    } else {
        books.note_refusal();
    }
    Ok(())
}
