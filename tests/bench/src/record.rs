//! Stored records as they come in the body of a pull: size, magic, checksum, places, body, topic, properties.

/// The fields of a record that are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Queue it stands in.
    pub queue_id: u32,
    /// Its place in the queue.
    pub queue_offset: u64,
    /// CRC-32 of the body without the top bit, as the broker states it.
    pub body_crc: u32,
    /// When it was stored, in milliseconds since 1970.
    pub stored_ms: u64,
    /// The message.
    pub body: &'a [u8],
    /// Its topic.
    pub topic: &'a [u8],
    /// Its properties, `name 1 value 2 …`.
    pub properties: &'a [u8],
}

const MAGIC_V1: u32 = 0xDAA3_20A7;
const MAGIC_V2: u32 = 0xDAA3_20AB;
const BORN_HOST_V6: u32 = 1 << 4;
const STORE_HOST_V6: u32 = 1 << 5;

/// The record at the start of `bytes` and what follows it; `None` when there is no whole, well-formed record.
pub fn first(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let size = usize::try_from(u32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    let (record, after) = bytes.split_at_checked(size)?;
    let mut cut = Cut(record.get(4..)?);
    let magic = cut.u32()?;
    let body_crc = cut.u32()?;
    let queue_id = cut.u32()?;
    cut.bytes(4)?; // flag
    let queue_offset = cut.u64()?;
    cut.bytes(8)?; // physical offset
    let sys_flag = cut.u32()?;
    let host = |six: u32| if sys_flag & six == 0 { 8 } else { 20 };
    cut.bytes(8 + host(BORN_HOST_V6))?; // born timestamp and host
    let stored_ms = cut.u64()?;
    // Store host, reconsume times, prepared transaction offset.
    cut.bytes(host(STORE_HOST_V6) + 4 + 8)?;
    let body_bytes = usize::try_from(cut.u32()?).ok()?;
    let body = cut.bytes(body_bytes)?;
    let topic_bytes = match magic {
        MAGIC_V1 => usize::from(cut.bytes(1)?[0]),
        MAGIC_V2 => usize::from(cut.u16()?),
        _ => return None,
    };
    let topic = cut.bytes(topic_bytes)?;
    let properties_bytes = usize::from(cut.u16()?);
    let properties = cut.bytes(properties_bytes)?;
    cut.0.is_empty().then_some((
        Record {
            queue_id,
            queue_offset,
            body_crc,
            stored_ms,
            body,
            topic,
            properties,
        },
        after,
    ))
}

struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A record as a broker stores it, with IPv4 hosts.
    pub fn encode(queue_id: u32, queue_offset: u64, topic: &str, body: &[u8]) -> Vec<u8> {
        let mut record = vec![0; 4];
        record.extend(MAGIC_V1.to_be_bytes());
        record.extend((crc32fast::hash(body) & 0x7FFF_FFFF).to_be_bytes());
        record.extend(queue_id.to_be_bytes());
        record.extend([0; 4]);
        record.extend(queue_offset.to_be_bytes());
        record.extend([0; 8 + 4 + 8 + 8 + 8 + 8 + 4 + 8]);
        record.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        record.extend(body);
        record.push(topic.len().try_into().unwrap());
        record.extend(topic.bytes());
        record.extend([0, 3, b'A', 1, b'B']);
        let size = u32::try_from(record.len()).unwrap();
        record[..4].copy_from_slice(&size.to_be_bytes());
        record
    }

    #[test]
    fn records_are_read_one_after_the_other() {
        let bytes = [encode(2, 40, "T", b"one"), encode(2, 41, "T", b"")].concat();
        let (one, rest) = first(&bytes).unwrap();
        assert_eq!(
            (one.queue_id, one.queue_offset, one.body, one.topic),
            (2, 40, &b"one"[..], &b"T"[..])
        );
        assert_eq!(
            (one.properties, one.body_crc),
            (&b"A\x01B"[..], crc32fast::hash(b"one") & 0x7FFF_FFFF)
        );
        let (two, rest) = first(rest).unwrap();
        assert_eq!((two.queue_offset, two.body, rest), (41, &b""[..], &b""[..]));
    }

    #[test]
    fn cut_or_padded_records_are_refused() {
        let record = encode(0, 0, "T", b"body");
        for end in 0..record.len() {
            assert_eq!(first(&record[..end]), None, "{end} bytes");
        }
        let mut padded = record.clone();
        padded.push(0);
        padded[3] += 1;
        assert_eq!(first(&padded), None);
    }
}
