//! From each unit to its record, where the records did not lead to all units.

use common::message::properties;
use common::message::record::RecordView;
use hashbrown::HashMap;

use super::super::queues::Scan;
use super::super::reader::RecordReader;
use super::super::walk::Judged;
use super::super::{OfflineQueue, OfflineStore};
use super::follow::{self, Miss};
use super::{Finding, Findings};
use crate::consume_queue::Unit;
use crate::consume_queue::ext::position;
use crate::error::StoreError;

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
    scans: &[Scan],
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
    for (at, (queue, scan)) in store.queues.iter().zip(scans).enumerate() {
        if scan.in_log == hits[at] {
            continue;
        }
        let mut offset = scan.first;
        while offset < scan.end {
            let count = PIECE_UNITS.min(scan.end - offset);
            let units = queue.units(offset, usize::try_from(count).unwrap_or(0))?;
            if units.is_empty() {
                break;
            }
            for (offset, unit) in (offset..).zip(&units) {
                let stands = by_place.get(&(at, offset)).map(|miss| miss.at);
                let found = check_one(&mut reader, store, queue, (offset, unit), stands, log)?;
                if let Some(finding) = found {
                    by_place.remove(&(at, offset));
                    findings.add(finding);
                }
            }
            offset += units.len() as u64;
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
    queue: &OfflineQueue,
    (offset, unit): (u64, &Unit),
    stands: Option<u64>,
    log: &Log,
) -> Result<Option<Finding>, StoreError> {
    let at = unit.physical_offset;
    if at < store.log_start() && !unit.is_blank() {
        return Ok(None);
    }
    let problem = if unit.is_blank() {
        "is blank; only those before the first message may be".to_owned()
    } else if unit.end() > log.end && at >= log.end {
        format!("names position {at}, the log ends at {}", log.end)
    } else {
        match reader.read(at)? {
            Judged::Record(record, _) => match differs(queue, offset, unit, &record) {
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
        "unit {offset} of queue {} of {} {problem}{right}",
        queue.id, queue.topic
    );
    let (path, place) = queue.place(offset);
    let mut finding = Finding::unit(path, place, problem).about(stands.unwrap_or(at));
    finding.mended = at >= log.settled && stands.is_none_or(|at| at >= log.settled);
    Ok(Some(finding))
}

/// What a unit says otherwise than the record it names.
fn differs(
    queue: &OfflineQueue,
    offset: u64,
    unit: &Unit,
    record: &RecordView<'_>,
) -> Option<String> {
    let at = unit.physical_offset;
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
    if !follow::agrees(unit, record) {
        let expected = follow::expected(record);
        let said = match position(unit.tags_code) {
            Some(at) => format!("leads to no ext unit at {at}"),
            None => format!("says tags code {}", unit.tags_code),
        };
        return Some(format!(
            "{said}, the tags of the record at {at} have {expected}"
        ));
    }
    None
}

/// Whether a record of another topic has a place in this light queue too.
fn is_dispatched_to(record: &RecordView<'_>, topic: &str, offset: u64) -> bool {
    let list = |name: &str| {
        let value = properties::get_bytes(record.properties, name.as_bytes());
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    };
    let (names, offsets) = (
        list("INNER_MULTI_DISPATCH"),
        list("INNER_MULTI_QUEUE_OFFSET"),
    );
    names
        .split(',')
        .zip(offsets.split(','))
        .any(|(name, at)| name == topic && at.parse() == Ok(offset))
}
