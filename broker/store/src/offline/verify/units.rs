//! From each unit to its record, where the records did not lead to all units.

use common::message::record::RecordView;
use common::message::{properties, tags_code};
use hashbrown::HashMap;

use super::super::queues::OpenQueue;
use super::super::reader::RecordReader;
use super::super::walk::Judged;
use super::super::{OfflineQueue, OfflineStore, light_queues};
use super::follow::Miss;
use super::{Finding, Findings, Scanned};
use crate::consume_queue::ext::position;
use crate::consume_queue::{QueueKind, Unit};
use crate::error::StoreError;
use crate::schedule;

/// Units read at a time.
const PIECE_UNITS: u64 = 3200;

/// What is known of the log by now.
pub(super) struct Log {
    pub(super) end: u64,
    pub(super) settled: u64,
}

/// Looks at the units of every queue that has not as many hits as units. Returns the number of
/// records of an earlier life of their topic.
pub(super) fn check(
    store: &OfflineStore,
    scans: &[Scanned<'_>],
    hits: &[u64],
    misses: &[Miss],
    log: &Log,
    findings: &mut Findings,
) -> Result<u64, StoreError> {
    let mut by_place: HashMap<(usize, u64), &Miss> = HashMap::new();
    for miss in misses {
        by_place.insert((miss.queue, miss.offset), miss);
    }
    let mut reader = RecordReader::new(store);
    for (at, (queue, scan)) in scans.iter().enumerate() {
        if scan.in_log == hits[at] {
            continue;
        }
        let mut index = scan.units.start;
        while index < scan.units.end {
            let count = PIECE_UNITS.min(scan.units.end - index);
            let units = queue.units_at(index, usize::try_from(count).unwrap_or(0))?;
            if units.is_empty() {
                break;
            }
            for (index, unit) in (index..).zip(&units) {
                let stands = by_place.get(&(at, unit.base)).map(|miss| miss.at);
                let found = check_one(&mut reader, store, queue, (index, unit), stands, log)?;
                if let Some(finding) = found {
                    by_place.remove(&(at, unit.base));
                    findings.add(finding);
                }
            }
            index += units.len() as u64;
        }
    }
    // What is left names good records by another one's offset. An older record is of a topic that
    // was deleted and made again; a newer one has taken an offset that was in use.
    let mut orphans = 0;
    for miss in by_place.into_values() {
        match (miss.named, store.segment_of(miss.at)) {
            (Some(named), Some(segment)) if named < miss.at => {
                let queue = &store.queues[miss.queue];
                let problem = format!(
                    "message {} of queue {} of {} is stored here and at {named}",
                    miss.offset, queue.id, queue.topic
                );
                findings.add(Finding::record(segment, miss.at, problem));
            }
            _ => orphans += 1,
        }
    }
    Ok(orphans)
}

fn check_one(
    reader: &mut RecordReader<'_>,
    store: &OfflineStore,
    opened: &OpenQueue<'_>,
    (index, unit): (u64, &Unit),
    stands: Option<u64>,
    log: &Log,
) -> Result<Option<Finding>, StoreError> {
    let (at, queue) = (unit.physical_offset, opened.of);
    if at < store.log_start() && !unit.is_blank() {
        return Ok(None);
    }
    let problem = if unit.is_blank() {
        "is blank; only those before the first message may be".to_owned()
    } else if unit.end() > log.end && at >= log.end {
        format!("names position {at}, the log ends at {}", log.end)
    } else {
        match reader.read(at)? {
            Judged::Record(record) => match differs(queue, unit, &record) {
                Some(problem) => problem,
                None => return Ok(None),
            },
            Judged::Bad(problem) => {
                format!("names position {at}, where no good record stands ({problem})")
            }
            // Deleted meanwhile by a living broker.
            Judged::Outside if store.state.live => return Ok(None),
            Judged::Blank | Judged::Zeros | Judged::Outside => {
                format!("names position {at}, where no record stands")
            }
        }
    };
    let elsewhere = stands.filter(|stands| *stands != at);
    let right = elsewhere.map_or(String::new(), |at| {
        format!("; the record of that message stands at {at}")
    });
    let problem = format!(
        "unit {} of queue {} of {} {problem}{right}",
        unit.base, queue.id, queue.topic
    );
    let (path, place) = opened.place(index);
    let mut finding = Finding::unit(path, place, problem).about(stands.unwrap_or(at));
    finding.mended = at >= log.settled && stands.is_none_or(|at| at >= log.settled);
    Ok(Some(finding))
}

/// What a unit says otherwise than the record it names.
pub(super) fn differs(
    queue: &OfflineQueue,
    unit: &Unit,
    record: &RecordView<'_>,
) -> Option<String> {
    let (at, offset) = (unit.physical_offset, unit.base);
    let own =
        record.topic == queue.topic.as_bytes() && i64::from(record.queue_id) == i64::from(queue.id);
    if own && u64::try_from(record.queue_offset) != Ok(offset) {
        return Some(format!(
            "names the record at {at}, which is message {}",
            record.queue_offset
        ));
    }
    if !own && !is_dispatched_to(record, &queue.topic, offset) {
        let topic = record.topic_text();
        return Some(format!(
            "names the record at {at}, which is of queue {} of {topic}",
            record.queue_id
        ));
    }
    if unit.bytes != record.total_size {
        return Some(format!(
            "says {} bytes, the record at {at} has {}",
            unit.bytes, record.total_size
        ));
    }
    let expected = Unit::of(queue.kind, at, record, offset);
    if own && unit.messages != expected.messages {
        return Some(format!(
            "stands for {} messages, the record at {at} for {}",
            unit.messages, expected.messages
        ));
    }
    if queue.kind == QueueKind::Batch && unit.store_timestamp != expected.store_timestamp {
        return Some(format!(
            "says store time {}, the record at {at} {}",
            unit.store_timestamp, expected.store_timestamp
        ));
    }
    let tags = properties::get_bytes(record.properties, properties::TAGS.as_bytes());
    let tags_code = tags.map_or(0, |tags| tags_code(&String::from_utf8_lossy(tags)));
    let code = unit.tags_code;
    // The unit of a delayed message has the time it is due.
    let due = || record.topic == schedule::TOPIC.as_bytes() && code >= record.store_timestamp;
    if code != tags_code && !due() {
        let said = match position(code) {
            Some(at) => format!("leads to no ext unit at {at}"),
            None => format!("says tags code {code}"),
        };
        let right = format!("the tags of the record at {at} have {tags_code}");
        return Some(format!("{said}, {right}"));
    }
    None
}

/// Whether a record of another topic has a place in this light queue too.
fn is_dispatched_to(record: &RecordView<'_>, topic: &str, offset: u64) -> bool {
    light_queues(&record.topic_text(), &record.properties_text())
        .any(|(name, at)| name == topic && at == offset)
}
