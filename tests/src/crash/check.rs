use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::books::{Books, Fault, Page, Queue};
use crate::{CONSUMER_GROUP, Connection, Record, patiently, records};

/// How much a check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What came since the last check, and a little before that.
    Recent,
    /// Every queue from its beginning.
    All,
}

/// What is read again of what an earlier check has seen: it lies where a recovery cuts.
const OVERLAP: i64 = 64;

/// Where each message was found, to notice one that is there twice.
type Places = HashMap<u64, (Queue, i64)>;

impl Books {
    /// Compares the queues of a broker that has just become ready with these books, and takes what
    /// is there and was never acknowledged into them: from now on it must stay. Gives the number of
    /// messages read; what is wrong becomes a fault.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub fn check(&self, address: &str, extent: Extent) -> Result<u64> {
        let mut connection = Connection::open(address)?;
        let mut places = Places::new();
        let mut read = 0;
        for queue in self.pages.keys() {
            let mut page = self.page(queue);
            read += self
                .check_queue(&mut connection, queue, &mut page, extent, &mut places)
                .with_context(|| format!("check {queue}"))?;
        }
        Ok(read)
    }

    fn check_queue(
        &self,
        connection: &mut Connection,
        queue: &Queue,
        page: &mut Page,
        extent: Extent,
        places: &mut Places,
    ) -> Result<u64> {
        let end = number_of(connection, 30, queue, "offset")?;
        self.note_gone(queue, page, end);
        let least = number_of(connection, 31, queue, "offset")?;
        self.note_deleted(queue, page, least);
        let from = match extent {
            Extent::Recent => (page.checked - OVERLAP).max(least),
            Extent::All => least,
        };
        let mut offset = from;
        let mut read = 0;
        while offset < end {
            let answer = connection.pull(&queue.topic, queue.id, offset)?;
            if matches!(answer.code, 20 | 21)
                && let Ok(least) = least_behind(connection, queue, offset + 1)
            {
                self.note_deleted(queue, page, least);
                offset = least;
                continue;
            }
            if answer.code != 0 {
                let text = format!(
                    "{queue} {offset}: code {} {}, though it ends at {end}",
                    answer.code, answer.remark
                );
                self.fault(Fault::Lost, text);
                break;
            }
            for record in records(&answer.body)? {
                if record.offset != offset {
                    // A pull begins behind what is being deleted.
                    let least = least_behind(connection, queue, record.offset);
                    let Some(least) = least.ok().filter(|_| record.offset > offset) else {
                        let text = format!("{queue} {offset}: a record of {}", record.offset);
                        self.fault(Fault::Other, text.clone());
                        bail!(text);
                    };
                    self.note_deleted(queue, page, least);
                    offset = record.offset;
                }
                self.compare(queue, page, &record);
                self.note_place(queue, page, offset, places);
                offset += 1;
                read += 1;
            }
        }
        page.checked = end;
        self.check_keys(connection, queue, page, from..end)?;
        self.check_group(connection, queue, page)?;
        Ok(read)
    }

    /// Everything known at or behind `end` is lost.
    fn note_gone(&self, queue: &Queue, page: &mut Page, end: i64) {
        for offset in end..page.end() {
            let gone = page.slot(offset).copied().unwrap_or_default();
            if gone.number != 0 && !self.is_unpromised(gone) {
                let how = if gone.acknowledged {
                    "was acknowledged"
                } else {
                    "had been seen"
                };
                let text = format!(
                    "{queue} ends at {end}; message {} {how} at {offset}",
                    gone.number
                );
                self.fault(Fault::Lost, text);
            }
        }
        page.slots.truncate(usize::try_from(end).unwrap_or(0));
        page.position = page.position.min(end);
    }

    fn note_place(&self, queue: &Queue, page: &mut Page, offset: i64, places: &mut Places) {
        let number = page.slot(offset).map_or(0, |slot| slot.number);
        if let Some((other, at)) = places.insert(number, (queue.clone(), offset)) {
            let text = format!("message {number} is at {queue} {offset} and at {other} {at}");
            self.fault(Fault::Altered, text);
        }
    }

    /// A few of the messages of `range` are found by their keys.
    fn check_keys(
        &self,
        connection: &mut Connection,
        queue: &Queue,
        page: &mut Page,
        range: Range<i64>,
    ) -> Result<()> {
        const SAMPLES: usize = 8;
        let step = usize::try_from(range.end - range.start)?.div_ceil(SAMPLES);
        for offset in range.step_by(step.max(1)) {
            let number = page.slot(offset).map_or(0, |slot| slot.number);
            for (key, unique) in [
                (format!("k{number}"), "false"),
                (format!("u{number}"), "true"),
            ] {
                let fields = [
                    ("topic", queue.topic.as_str()),
                    ("key", &key),
                    ("maxNum", "32"),
                    ("beginTimestamp", "0"),
                    ("endTimestamp", "9223372036854775807"),
                    ("_UNIQUE_KEY_QUERY", unique),
                ];
                let answer = connection.call(12, &fields, &[])?;
                let found = match answer.code {
                    0 => records(&answer.body)?,
                    // None.
                    22 => Vec::new(),
                    code => bail!("query {key}: code {code}: {}", answer.remark),
                };
                let here = |record: &Record| (record.queue, record.offset) == (queue.id, offset);
                if !found.iter().any(here) && offset >= page.least {
                    let text = format!("{queue} {offset}: not among {} of {key}", found.len());
                    self.fault(Fault::Lost, text);
                }
            }
        }
        Ok(())
    }

    /// The group's offset is no lower than what was confirmed, nothing nobody asked for, and not
    /// beyond the end.
    fn check_group(
        &self,
        connection: &mut Connection,
        queue: &Queue,
        page: &mut Page,
    ) -> Result<()> {
        if page.asked == 0 {
            return Ok(());
        }
        let id = queue.id.to_string();
        let fields = [
            ("consumerGroup", CONSUMER_GROUP),
            ("topic", queue.topic.as_str()),
            ("queueId", &id),
        ];
        let answer = connection.call(14, &fields, &[])?;
        let kept = match answer.code {
            0 => answer.number("offset")?,
            // No offset is known.
            22 => 0,
            code => bail!("code {code}: {}", answer.remark),
        };
        // Behind what a power cut was free to take nobody has anything to read.
        let least = page.committed.min(page.end());
        if kept < least || kept > page.asked || kept > page.end() {
            let text = format!(
                "{queue}: the group is at {kept}, {} was confirmed and {} asked for, the end is {}",
                page.committed,
                page.asked,
                page.end()
            );
            self.fault(Fault::Other, text);
        }
        page.committed = kept;
        Ok(())
    }
}

/// Where a queue begins that the log has no records of before `offset`: it follows the log once that has
/// deleted all it has to.
fn least_behind(connection: &mut Connection, queue: &Queue, offset: i64) -> Result<i64> {
    const FOLLOWED: Duration = Duration::from_secs(20);
    patiently("the queue follows the log", FOLLOWED, || {
        let least = number_of(connection, 31, queue, "offset")?;
        Ok((least >= offset).then_some(least))
    })
}

/// A field of the answer to a question about a queue.
fn number_of(connection: &mut Connection, code: i32, queue: &Queue, field: &str) -> Result<i64> {
    let id = queue.id.to_string();
    let fields = [("topic", queue.topic.as_str()), ("queueId", &id)];
    let answer = connection.call(code, &fields, &[])?;
    ensure!(answer.code == 0, "code {}: {}", answer.code, answer.remark);
    answer.number(field)
}
