//! The commit log's record: the one layout messages have on disk and in pull responses.
//!
//! All numbers are big-endian. Offsets of the fixed part, with IPv4 hosts:
//! `0 totalSize · 4 magic · 8 bodyCRC · 12 queueId · 16 flag · 20 queueOffset · 28 physicalOffset ·
//! 36 sysFlag · 40 bornTimestamp · 48 bornHost · 56 storeTimestamp · 64 storeHost ·
//! 72 reconsumeTimes · 76 preparedTransactionOffset · 84 bodyLength`, then body, topic, properties.
//! A host is 4 or 16 address bytes and a 4-byte port.

use std::net::{IpAddr, SocketAddr};

use bytes::BufMut;

use super::properties::MAX_PROPERTIES_BYTES;
use super::sys_flag;
use crate::scan::{take, take_bytes};

/// Magic of a record whose topic length is one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length is two bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler behind the last record of a file.
pub const BLANK_MAGIC: u32 = 0xCBD4_3194;
/// Longest topic a V1 record can name: its length is a signed byte.
pub const MAX_V1_TOPIC_BYTES: usize = 127;
/// Longest topic a V2 record can name: its length is a signed 16-bit number.
pub const MAX_V2_TOPIC_BYTES: usize = 32_767;

/// Position of the body's checksum.
pub const BODY_CRC_AT: usize = 8;
/// Position of the queue offset.
pub const QUEUE_OFFSET_AT: usize = 20;
/// Position of the physical offset.
pub const PHYSICAL_OFFSET_AT: usize = 28;
/// Bytes that a disk writes as a whole or not at all.
pub const BLANK_SECTOR_BYTES: usize = 512;
const BORN_HOST_AT: usize = 48;
/// Bytes up to the born host, which all records share.
const FIXED_BYTES: usize = BORN_HOST_AT;
/// Smallest possible record: IPv4 hosts, nothing in it.
pub const MIN_RECORD_BYTES: usize = 91;
const MAX_HEAD_BYTES: usize = FIXED_BYTES + 20 + 8 + 20 + 4 + 8 + 4;

/// Why a message cannot be written as a record.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// The properties do not fit their 16-bit length.
    #[error("properties of {bytes} bytes exceed {MAX_PROPERTIES_BYTES}")]
    PropertiesTooLong {
        /// Bytes of the properties string.
        bytes: usize,
    },
    /// The properties end with a zero byte, or hold so many of them that recovery would take the
    /// record for one whose sectors a crash has lost.
    #[error("properties end with a zero byte, or hold {BLANK_SECTOR_BYTES} or more in a row")]
    BlankProperties,
    /// The topic is empty or does not fit its length field.
    #[error("topic of {bytes} bytes, a record holds 1 to {MAX_V2_TOPIC_BYTES}")]
    TopicLength {
        /// Bytes of the topic.
        bytes: usize,
    },
    /// The whole record does not fit a signed 32-bit length.
    #[error("record of {bytes} bytes exceeds {}", i32::MAX)]
    TooLong {
        /// Bytes of the record.
        bytes: usize,
    },
}

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum RecordFormatError {
    /// There are fewer bytes than the record says it has, or than any record has.
    #[error("record needs {needed} bytes, {got} are there")]
    Truncated {
        /// Bytes it takes at least.
        needed: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// Not one of the two record magics.
    #[error("{magic:#010x} is no record magic")]
    Magic {
        /// What stands there.
        magic: u32,
    },
    /// The parts do not add up to the total size, or a length is negative.
    #[error("parts of {parts} bytes in a record of {total}")]
    Length {
        /// What the parts add up to, as far as they could be read.
        parts: usize,
        /// What the record's first field says.
        total: usize,
    },
}

/// What a sender decides about a record. Queue offset, physical offset and store timestamp are
/// stamped when it is appended.
#[derive(Clone, Copy, Debug)]
pub struct RecordParts<'a> {
    /// The topic it is stored under.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: u32,
    /// The application's flag; nobody else looks at it.
    pub flag: i32,
    /// See [`sys_flag`]; the two address bits are set from the addresses, whatever stands here.
    pub sys_flag: i32,
    /// The client's time, milliseconds since 1970.
    pub born_timestamp: i64,
    /// Where the message came from.
    pub born_host: SocketAddr,
    /// The broker's address, as clients know it.
    pub store_host: SocketAddr,
    /// How often it was consumed without success.
    pub reconsume_times: i32,
    /// Physical offset of the first half, in commit and rollback records; otherwise 0.
    pub prepared_transaction_offset: i64,
    /// The body as the client sent it, possibly compressed.
    pub body: &'a [u8],
    /// The properties string.
    pub properties: &'a str,
}

impl<'a> RecordParts<'a> {
    /// A record that the broker at `host` makes itself, at `now` in milliseconds since 1970.
    pub fn of_broker(
        host: SocketAddr,
        now: i64,
        (topic, queue_id): (&'a str, u32),
        body: &'a [u8],
        properties: &'a str,
    ) -> Self {
        Self {
            topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: now,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties,
        }
    }
}

/// Where in an encoded record the fields stand that are filled in last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Bytes of the whole record.
    pub bytes: u32,
    /// Position of the store timestamp.
    pub store_timestamp_at: u32,
    /// The sysFlag as written.
    pub sys_flag: i32,
}

/// Bytes `encode` will write.
pub fn encoded_len(parts: &RecordParts<'_>) -> usize {
    let topic = topic_length_bytes(parts.topic) + parts.topic.len();
    head_len(parts) + parts.body.len() + topic + 2 + parts.properties.len()
}

/// Whether a record can be made of these parts, and its bytes then.
///
/// # Errors
/// When topic, properties or the whole do not fit their length fields, or the properties could be taken for lost.
pub fn check(parts: &RecordParts<'_>) -> Result<u32, RecordError> {
    let RecordParts {
        topic, properties, ..
    } = *parts;
    if properties.len() > MAX_PROPERTIES_BYTES {
        return Err(RecordError::PropertiesTooLong {
            bytes: properties.len(),
        });
    }
    if topic.is_empty() || topic.len() > MAX_V2_TOPIC_BYTES {
        return Err(RecordError::TopicLength { bytes: topic.len() });
    }
    if properties.contains('\0') && looks_blank(properties.as_bytes()) {
        return Err(RecordError::BlankProperties);
    }
    let bytes = encoded_len(parts);
    let total_size = u32::try_from(bytes).ok();
    total_size
        .filter(|size| i32::try_from(*size).is_ok())
        .ok_or(RecordError::TooLong { bytes })
}

/// Appends one record to `out`, its three stamps zero.
///
/// # Errors
/// See [`check`]; `out` is unchanged then.
pub fn encode(parts: &RecordParts<'_>, out: &mut Vec<u8>) -> Result<Encoded, RecordError> {
    let total_size = check(parts)?;
    let (topic, properties) = (parts.topic, parts.properties);
    let flag = sys_flag::with_hosts(parts.sys_flag, &parts.born_host, &parts.store_host);
    let short_topic = topic.len() <= MAX_V1_TOPIC_BYTES;

    let mut head = [0_u8; MAX_HEAD_BYTES];
    let mut rest = &mut head[..];
    rest.put_u32(total_size);
    rest.put_u32(if short_topic { MAGIC_V1 } else { MAGIC_V2 });
    rest.put_u32(body_crc(parts.body));
    rest.put_u32(parts.queue_id);
    rest.put_i32(parts.flag);
    // Queue offset, physical offset and, further on, the store timestamp are stamped when it is appended.
    rest.put_i64(0);
    rest.put_i64(0);
    rest.put_i32(flag);
    rest.put_i64(parts.born_timestamp);
    put_host(&mut rest, &parts.born_host);
    let store_timestamp_at = MAX_HEAD_BYTES - rest.len();
    rest.put_i64(0);
    put_host(&mut rest, &parts.store_host);
    rest.put_i32(parts.reconsume_times);
    rest.put_i64(parts.prepared_transaction_offset);
    rest.put_u32(length_u32(parts.body.len()));
    let head_len = MAX_HEAD_BYTES - rest.len();

    let start = out.len();
    out.reserve(usize::try_from(total_size).unwrap_or(0));
    out.extend_from_slice(&head[..head_len]);
    out.extend_from_slice(parts.body);
    if short_topic {
        out.push(length_u16(topic.len()).to_be_bytes()[1]);
    } else {
        out.extend_from_slice(&length_u16(topic.len()).to_be_bytes());
    }
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(&length_u16(properties.len()).to_be_bytes());
    out.extend_from_slice(properties.as_bytes());
    assert_eq!(
        length_u32(out.len() - start),
        total_size,
        "a record is as long as its parts"
    );
    Ok(Encoded {
        bytes: total_size,
        store_timestamp_at: length_u32(store_timestamp_at),
        sys_flag: flag,
    })
}

fn looks_blank(properties: &[u8]) -> bool {
    properties.last() == Some(&0)
        || properties
            .split(|byte| *byte != 0)
            .any(|zeros| zeros.len() >= BLANK_SECTOR_BYTES)
}

/// CRC-32 of a body as records carry it: without the sign bit, 0 for an empty body.
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

fn put_host(out: &mut impl BufMut, host: &SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_slice(&ip.octets()),
        IpAddr::V6(ip) => out.put_slice(&ip.octets()),
    }
    out.put_u32(host.port().into());
}

fn head_len(parts: &RecordParts<'_>) -> usize {
    FIXED_BYTES
        + host_len(parts.born_host.is_ipv6())
        + 8
        + host_len(parts.store_host.is_ipv6())
        + 16
}

const fn host_len(v6: bool) -> usize {
    if v6 { 20 } else { 8 }
}

fn topic_length_bytes(topic: &str) -> usize {
    if topic.len() <= MAX_V1_TOPIC_BYTES {
        1
    } else {
        2
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "callers checked it against the record's limit"
)]
fn length_u32(len: usize) -> u32 {
    len as u32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "callers checked it against 32,767"
)]
fn length_u16(len: usize) -> u16 {
    len as u16
}

/// A record, taken apart without copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Bytes of the whole record.
    pub total_size: u32,
    /// Two-byte topic length.
    pub is_v2: bool,
    /// CRC-32 of the body without its sign bit.
    pub body_crc: u32,
    /// Queue within the topic.
    pub queue_id: i32,
    /// The application's flag.
    pub flag: i32,
    /// Index within the queue; 0 in transaction halves and rollbacks.
    pub queue_offset: i64,
    /// The record's own position in the log.
    pub physical_offset: i64,
    /// See [`sys_flag`].
    pub sys_flag: i32,
    /// The client's time in milliseconds.
    pub born_timestamp: i64,
    /// Where the message came from.
    pub born_host: SocketAddr,
    /// The broker's time in milliseconds.
    pub store_timestamp: i64,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often it was consumed without success.
    pub reconsume_times: i32,
    /// Physical offset of the first half.
    pub prepared_transaction_offset: i64,
    /// The body as stored.
    pub body: &'a [u8],
    /// The topic; text, if a broker wrote it.
    pub topic: &'a [u8],
    /// The properties string; text, if a broker wrote it.
    pub properties: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Takes the record at the start of `bytes` apart; more may follow it. Lengths are checked,
    /// the body's CRC is not (see [`RecordView::body_is_intact`]).
    ///
    /// # Errors
    /// When there is no whole record or its lengths contradict each other.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordFormatError> {
        let got = bytes.len();
        let truncated = |needed| RecordFormatError::Truncated { needed, got };
        let mut rest = bytes;
        let (Some(total_size), Some(magic)) = (take(&mut rest), take(&mut rest)) else {
            return Err(truncated(MIN_RECORD_BYTES));
        };
        let total_size = u32::from_be_bytes(total_size);
        let is_v2 = match u32::from_be_bytes(magic) {
            MAGIC_V1 => false,
            MAGIC_V2 => true,
            magic => return Err(RecordFormatError::Magic { magic }),
        };
        let total = usize::try_from(total_size).unwrap_or(usize::MAX);
        if total < MIN_RECORD_BYTES || i32::try_from(total_size).is_err() {
            return Err(RecordFormatError::Length {
                parts: MIN_RECORD_BYTES,
                total,
            });
        }
        let mut rest = bytes.get(8..total).ok_or(truncated(total))?;
        match parse_parts(&mut rest, total_size, is_v2) {
            Some(view) if rest.is_empty() => Ok(view),
            _ => Err(RecordFormatError::Length {
                parts: total - rest.len(),
                total,
            }),
        }
    }

    /// The parts of a record that is stored again by `store_host`, in another queue and with other properties.
    pub fn moved_to(
        &self,
        (topic, queue_id): (&'a str, u32),
        properties: &'a str,
        store_host: SocketAddr,
    ) -> RecordParts<'a> {
        RecordParts {
            topic,
            queue_id,
            flag: self.flag,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_timestamp,
            born_host: self.born_host,
            store_host,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: 0,
            body: self.body,
            properties,
        }
    }

    /// Whether the body still has the checksum it was stored with.
    pub fn body_is_intact(&self) -> bool {
        // The reference checks no empty body, whatever stands in the checksum then.
        self.body.is_empty() || body_crc(self.body) == self.body_crc
    }

    /// Whether a crash has lost a sector of the record, given its bytes and their position in the
    /// file. What is lost reads as zeros. In the head that contradicts the lengths, and the body
    /// has its checksum; this looks at topic and properties, which no checksum covers.
    pub fn is_torn(&self, bytes: &[u8], at: usize) -> bool {
        if self.topic.last() == Some(&0) || self.properties.last() == Some(&0) {
            return true;
        }
        let (topic, properties) = (self.topic.len(), self.properties.len());
        let total = bytes.len();
        let texts = [
            (total - properties, total),
            (total - properties - 2 - topic, total - properties - 2),
        ];
        let is_blank = |sector: usize| {
            let from = (sector * BLANK_SECTOR_BYTES).max(at) - at;
            let to = ((sector + 1) * BLANK_SECTOR_BYTES - at).min(total);
            bytes[from..to].iter().all(|byte| *byte == 0)
        };
        let held = texts.into_iter().filter(|(from, to)| from < to);
        held.map(|(from, to)| (at + from) / BLANK_SECTOR_BYTES..=(at + to - 1) / BLANK_SECTOR_BYTES)
            .any(|mut sectors| sectors.any(is_blank))
    }

    /// The topic as text; damaged bytes are replaced.
    pub fn topic_text(&self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.topic)
    }

    /// The properties as text; damaged bytes are replaced.
    pub fn properties_text(&self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.properties)
    }

    /// Value of the last property called `name`.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        super::properties::get_bytes(self.properties, name.as_bytes())
            .and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// Records that stand back to back, as in the body of a pull response. Ends behind the last whole
/// record; an error is the last item.
pub fn iter(bytes: &[u8]) -> impl Iterator<Item = Result<RecordView<'_>, RecordFormatError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = RecordView::parse(rest);
        let next = record
            .ok()
            .and_then(|view| usize::try_from(view.total_size).ok());
        rest = next.and_then(|len| rest.get(len..)).unwrap_or_default();
        Some(record)
    })
}

/// Takes everything behind the magic off the front of `rest`, as far as it is there.
fn parse_parts<'a>(rest: &mut &'a [u8], total_size: u32, is_v2: bool) -> Option<RecordView<'a>> {
    let body_crc = u32::from_be_bytes(take(rest)?);
    let queue_id = i32::from_be_bytes(take(rest)?);
    let flag = i32::from_be_bytes(take(rest)?);
    let queue_offset = i64::from_be_bytes(take(rest)?);
    let physical_offset = i64::from_be_bytes(take(rest)?);
    let sys_flag = i32::from_be_bytes(take(rest)?);
    let born_timestamp = i64::from_be_bytes(take(rest)?);
    let born_host = take_host(rest, sys_flag & sys_flag::BORN_HOST_V6 != 0)?;
    let store_timestamp = i64::from_be_bytes(take(rest)?);
    let store_host = take_host(rest, sys_flag & sys_flag::STORE_HOST_V6 != 0)?;
    let reconsume_times = i32::from_be_bytes(take(rest)?);
    let prepared_transaction_offset = i64::from_be_bytes(take(rest)?);
    let body_len = i32::from_be_bytes(take(rest)?);
    let body = take_bytes(rest, body_len)?;
    let topic_len = if is_v2 {
        i16::from_be_bytes(take(rest)?)
    } else {
        i8::from_be_bytes(take(rest)?).into()
    };
    let topic = take_bytes(rest, topic_len)?;
    let properties_len = i16::from_be_bytes(take(rest)?);
    let properties = take_bytes(rest, properties_len)?;
    Some(RecordView {
        total_size,
        is_v2,
        body_crc,
        queue_id,
        flag,
        queue_offset,
        physical_offset,
        sys_flag,
        born_timestamp,
        born_host,
        store_timestamp,
        store_host,
        reconsume_times,
        prepared_transaction_offset,
        body,
        topic,
        properties,
    })
}

fn take_host(rest: &mut &[u8], v6: bool) -> Option<SocketAddr> {
    let ip: IpAddr = if v6 {
        take::<16>(rest)?.into()
    } else {
        take::<4>(rest)?.into()
    };
    // Ports are written as 32 bits; what does not fit 16 comes from a damaged or odd writer
    // and must not make the message unreadable.
    let [_, _, port @ ..] = take::<4>(rest)?;
    Some(SocketAddr::new(ip, u16::from_be_bytes(port)))
}

#[cfg(test)]
mod tests;
