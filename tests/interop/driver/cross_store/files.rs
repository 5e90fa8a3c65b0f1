//! What the ConsumeQueue files hold, read without a broker.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use common::message::record::RecordView;
use common::message::tags_code;

use super::model::{DELAYED, Model};

const UNIT_BYTES: usize = 20;
/// Milliseconds of each level in the settings of every broker here.
pub const DELAYS_MS: [i64; 4] = [1_000, 5_000, 12_000, 30_000];

/// Compares every unit of every queue with the record it stands for. After a stop in order.
pub fn check_units(store: &Path, model: &Model) -> Result<()> {
    let used = model
        .queues
        .iter()
        .filter(|(_, queue)| !queue.records.is_empty());
    for ((topic, queue), known) in used {
        let folder = store
            .join("consumequeue")
            .join(topic)
            .join(queue.to_string());
        let mut files: Vec<_> = folder
            .read_dir()
            .with_context(|| format!("list {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort();
        let first = files.first().context("a queue without files")?;
        let name = first.file_name().and_then(|name| name.to_str());
        let base: usize = name.context("a name")?.parse()?;
        let mut bytes = Vec::new();
        for file in &files {
            bytes.extend(std::fs::read(file)?);
        }
        for (offset, record) in (known.min..).zip(&known.records) {
            let what = || format!("unit {offset} of {topic}[{queue}]");
            let at = usize::try_from(offset)? * UNIT_BYTES - base;
            let unit = bytes.get(at..at + UNIT_BYTES).with_context(what)?;
            let record = RecordView::parse(record)?;
            ensure!(
                *unit == expected(&record)?,
                "{}: {unit:?} for {record:?}",
                what()
            );
        }
    }
    Ok(())
}

fn expected(record: &RecordView<'_>) -> Result<[u8; UNIT_BYTES]> {
    let mut unit = [0; UNIT_BYTES];
    unit[..8].copy_from_slice(&record.physical_offset.to_be_bytes());
    unit[8..12].copy_from_slice(&record.total_size.to_be_bytes());
    let code = match record.property("DELAY") {
        Some(level) if record.topic == DELAYED.as_bytes() => due(record, level)?,
        _ => record.property("TAGS").map_or(0, tags_code),
    };
    unit[12..].copy_from_slice(&code.to_be_bytes());
    Ok(unit)
}

/// When a message that waits is due, in milliseconds since 1970.
pub fn due(record: &RecordView<'_>, level: &str) -> Result<i64> {
    let delay = DELAYS_MS.get(level.parse::<usize>()? - 1);
    Ok(record.store_timestamp + delay.context("no such level")?)
}
