//! Records encoded and waiting to be appended together.

use std::sync::Arc;

use common::ids::{PhysicalOffset, QueueOffset};
use common::message::property_crc;
use common::message::record::{self, BODY_CRC_AT, Encoded, RecordParts};
use common::message::{sys_flag, tags_code};

use crate::consume_queue::{Queue, QueueKind, QueueTable};
use crate::error::StoreError;
use crate::index::keys::{Keys, is_indexed};
use crate::late::Late;
use crate::schedule::DelayLevel;

/// Memory an idle batch may keep.
const KEPT_BYTES: usize = 256 * 1024;
const KEPT_HASHES: usize = 8 * 1024;

/// Encoded records of one turn, reused turn after turn.
#[derive(Debug, Default)]
pub struct RecordBatch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
    /// Hashes of all keys, record by record.
    hashes: Vec<i32>,
    groups: u32,
    group: Option<u32>,
    /// Whether records end in a checksum over all of them.
    pub(crate) property_crc: bool,
    /// Where light queues are, if messages go into them.
    light: Option<Arc<QueueTable>>,
    /// The first entries have their offsets.
    settled: usize,
}

/// One record of the batch.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) queue: Arc<Queue>,
    pub(crate) start: usize,
    pub(crate) encoded: Encoded,
    pub(crate) tags_code: i64,
    /// Of a message that waits.
    pub(crate) delay_level: Option<DelayLevel>,
    /// Where the hashes of its keys begin.
    hashes_from: usize,
    /// Messages that consumers will see: none of a record that is in the log only.
    pub(crate) messages: u32,
    /// Offset of the first of them, once it is known.
    pub(crate) queue_offset: u64,
    /// What its properties still lack.
    pub(crate) late: Option<Box<Late>>,
    /// Records of one group go into the same segment.
    pub(crate) group: Option<u32>,
}

/// Where a record ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Position of the record in the log.
    pub physical_offset: PhysicalOffset,
    /// Index of the message in its queue; 0 for a record that is in the log only.
    pub queue_offset: QueueOffset,
    /// Milliseconds since 1970.
    pub store_timestamp: i64,
    /// Bytes of the record.
    pub bytes: u32,
}

impl Appended {
    /// Position behind the record: the message is durable once the log is flushed up to here.
    pub fn end(&self) -> u64 {
        self.physical_offset.0 + u64::from(self.bytes)
    }
}

impl Entry {
    /// Bytes of the record.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.encoded.bytes).unwrap_or(usize::MAX)
    }
}

impl RecordBatch {
    pub(crate) fn new(property_crc: bool, light: Option<Arc<QueueTable>>) -> Self {
        Self {
            property_crc,
            light,
            ..Self::default()
        }
    }

    /// Records in the batch.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all records; keeps memory for the next ones, but not more than a busy turn needs.
    pub fn clear(&mut self) {
        self.truncate(0);
        (self.groups, self.group) = (0, None);
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        if self.hashes.capacity() > KEPT_HASHES {
            self.hashes = Vec::new();
        }
    }

    /// Forgets the records from the `len`th on.
    pub fn truncate(&mut self, len: usize) {
        if let Some(first) = self.entries.get(len) {
            self.bytes.truncate(first.start);
            self.hashes.truncate(first.hashes_from);
        }
        self.entries.truncate(len);
        self.settled = self.settled.min(len);
    }

    /// Forgets the records that are not to be kept, by their number; the others close up.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let bytes = std::mem::take(&mut self.bytes);
        let hashes = std::mem::take(&mut self.hashes);
        let entries = std::mem::take(&mut self.entries);
        let mut end = hashes.len();
        let ends = entries.iter().rev();
        let mut ends: Vec<usize> = ends
            .map(|entry| std::mem::replace(&mut end, entry.hashes_from))
            .collect();
        ends.reverse();
        for (number, (mut entry, end)) in entries.into_iter().zip(ends).enumerate() {
            if keep(number) {
                let from = std::mem::replace(&mut entry.start, self.bytes.len());
                self.bytes
                    .extend_from_slice(&bytes[from..from + entry.len()]);
                let from = std::mem::replace(&mut entry.hashes_from, self.hashes.len());
                self.hashes.extend_from_slice(&hashes[from..end]);
                self.entries.push(entry);
            }
        }
    }

    /// The checksum in a record over its body.
    ///
    /// # Panics
    /// There is no such record.
    pub fn body_crc(&self, record: usize) -> u32 {
        let at = self.entries[record].start + BODY_CRC_AT;
        let field = self.bytes[at..].first_chunk();
        u32::from_be_bytes(*field.unwrap_or(&[0; 4]))
    }

    /// The records with the hashes of their keys.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&Entry, &[i32])> {
        let ends = self.entries.iter().skip(1).map(|next| next.hashes_from);
        let ends = ends.chain([self.hashes.len()]);
        let of = |(entry, end): (_, usize)| {
            let entry: &Entry = entry;
            (entry, &self.hashes[entry.hashes_from..end])
        };
        self.entries.iter().zip(ends).map(of)
    }

    /// From here on, up to [`Self::end_group`], all records go into the same file of the log, as
    /// what clients send as one batch has to. A group too large for any file is no group.
    pub fn begin_group(&mut self) {
        self.groups = self.groups.wrapping_add(1);
        self.group = Some(self.groups);
    }

    /// From here on each record is on its own again.
    pub fn end_group(&mut self) {
        self.group = None;
    }

    /// Encodes a record for `queue`, whose topic and id the parts must name.
    ///
    /// # Errors
    /// [`StoreError::Record`]: a part does not fit its length field. The batch is as it was.
    pub fn push(&mut self, queue: &Arc<Queue>, parts: &RecordParts<'_>) -> Result<(), StoreError> {
        assert!(
            queue.topic() == parts.topic && queue.id() == parts.queue_id,
            "a record goes to the queue it names"
        );
        let start = self.bytes.len();
        let late = Late::of(
            queue,
            parts.sys_flag,
            parts.properties,
            self.light.as_deref(),
        );
        let (late, roomy) = late.unzip();
        let mut stored = roomy.as_deref().unwrap_or(parts.properties);
        let with_crc;
        if self.property_crc {
            with_crc = property_crc::with_room(stored);
            stored = &with_crc;
        }
        let encoded = record::encode(
            &RecordParts {
                properties: stored,
                ..*parts
            },
            &mut self.bytes,
        )?;
        let late = late.map(|late| Box::new(late.encoded(stored.len())));
        let keys = Keys::of(parts.properties);
        let hashes_from = self.hashes.len();
        if is_indexed(encoded.sys_flag) {
            self.hashes.extend(keys.hashes(queue.topic_hash()));
        }
        self.entries.push(Entry {
            queue: Arc::clone(queue),
            start,
            encoded,
            tags_code: keys.tags.map_or(0, tags_code),
            delay_level: DelayLevel::of(parts.topic.as_bytes(), parts.properties.as_bytes()),
            hashes_from,
            messages: if sys_flag::is_queued(encoded.sys_flag) {
                let properties = parts.properties.as_bytes();
                queue.kind().messages(encoded.sys_flag, properties)
            } else {
                0
            },
            queue_offset: 0,
            late,
            group: self.group,
        });
        Ok(())
    }

    /// Gives the entries before the `end`th their offsets, those that have none yet; under the append
    /// lock. Their lengths are final then.
    pub(crate) fn settle(&mut self, end: usize) {
        for entry in &mut self.entries[self.settled.min(end)..end] {
            entry.queue_offset = entry.queue.take_next(entry.messages);
            let len = entry.len();
            let Some(late) = &mut entry.late else {
                continue;
            };
            for (queue, offset) in late.light() {
                *offset = queue.take_next(1);
            }
            let record = &mut self.bytes[entry.start..entry.start + len];
            let len = late.fill(record, self.property_crc, entry.queue_offset);
            entry.encoded.bytes = u32::try_from(len).unwrap_or(u32::MAX);
        }
        self.settled = self.settled.max(end);
    }

    /// Takes the offsets of the entries from the `from`th on back; under the append lock.
    pub(crate) fn unsettle(&mut self, from: usize) {
        let settled = std::mem::replace(&mut self.settled, 0);
        for entry in &mut self.entries[from.min(settled)..settled] {
            entry.queue.give_back(entry.messages);
            if let Some(late) = &mut entry.late {
                late.light().for_each(|(queue, _)| queue.give_back(1));
            }
        }
    }

    /// Entries whose topic was deleted since go into its new queues.
    pub(crate) fn renew(&mut self, queues: &QueueTable) {
        let renew = |queue: &mut Arc<Queue>| {
            if queue.is_deleted() {
                *queue = queues.get_or_create(queue.topic(), queue.id());
            }
        };
        for entry in &mut self.entries {
            renew(&mut entry.queue);
            if entry.queue.kind() == QueueKind::Simple {
                entry.messages = entry.messages.min(1);
            }
            if let Some(late) = &mut entry.late {
                late.light().for_each(|(queue, _)| renew(queue));
            }
        }
    }
}
