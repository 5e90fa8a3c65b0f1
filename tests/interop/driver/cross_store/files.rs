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
        let below = |folder: &str| store.join(folder).join(topic).join(queue.to_string());
        let ext = ExtFiles::open(&below("consumequeue_ext"))?;
        let (base, bytes) = contents(&below("consumequeue"))?;
        for (offset, record) in (known.min..).zip(&known.records) {
            let what = || format!("unit {offset} of {topic}[{queue}]");
            let at = usize::try_from(offset * UNIT_BYTES as u64 - base)?;
            let unit = bytes.get(at..at + UNIT_BYTES).with_context(what)?;
            let record = RecordView::parse(record)?;
            let mut unit = unit.to_vec();
            if let Some(ext) = &ext {
                ext.resolve(&mut unit, &record).with_context(what)?;
            }
            ensure!(
                unit == expected(&record)?,
                "{}: {unit:?} for {record:?}",
                what()
            );
        }
    }
    Ok(())
}

/// The ext units of a queue that has some.
struct ExtFiles {
    base: u64,
    bytes: Vec<u8>,
}

impl ExtFiles {
    fn open(folder: &Path) -> Result<Option<Self>> {
        if !folder.is_dir() {
            return Ok(None);
        }
        let (base, bytes) = contents(folder)?;
        Ok(Some(Self { base, bytes }))
    }

    /// Puts the tags code in place of the address, which every unit has.
    fn resolve(&self, unit: &mut [u8], record: &RecordView<'_>) -> Result<()> {
        let code = i64::from_be_bytes(*unit[12..].first_chunk().context("a short unit")?);
        ensure!(code < i64::from(i32::MIN), "{code} is no address");
        let position = u64::try_from(code.wrapping_sub(i64::MIN))?;
        let at = usize::try_from(position - self.base)?;
        let ext = self.bytes.get(at..at + UNIT_BYTES).context("no ext unit")?;
        let time = record.store_timestamp.to_be_bytes();
        ensure!(
            ext[..2] == [0, 20] && ext[10..18] == time,
            "ext unit {ext:?}"
        );
        unit[12..].copy_from_slice(&ext[2..10]);
        Ok(())
    }
}

/// The files of a folder, one behind the other, and the position of the first.
fn contents(folder: &Path) -> Result<(u64, Vec<u8>)> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("list {}", folder.display()))?;
    let entries: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut files = entries?;
    files.sort();
    let name = files.first().and_then(|first| first.file_name()?.to_str());
    let base = name.context("no files")?.parse()?;
    let mut bytes = Vec::new();
    for file in files {
        bytes.extend(std::fs::read(file)?);
    }
    Ok((base, bytes))
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
