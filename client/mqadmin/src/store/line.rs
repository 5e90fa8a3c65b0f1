//! A message as one line of JSON, with everything its record says.

use std::io::{self, Write};

use common::ids::PhysicalOffset;
use common::message::record::RecordView;
use common::message::{message_id, properties};

use crate::text;

/// Writes the line. Properties are an object in stored order; where that cannot say everything (a
/// name twice, an empty value, bytes that are no text) `propertiesRaw` has their bytes too. The
/// body is as stored: when it is compressed `sysFlag` says so.
pub fn write(record: &RecordView<'_>, out: &mut impl Write) -> io::Result<()> {
    let offset = PhysicalOffset::from_wire(record.physical_offset).unwrap_or_default();
    out.write_all(b"{\"topic\":")?;
    string(&record.topic_text(), out)?;
    if std::str::from_utf8(record.topic).is_err() {
        raw("topicRaw", record.topic, out)?;
    }
    write!(
        out,
        ",\"queueId\":{},\"queueOffset\":{},\"physicalOffset\":{},\"storeSize\":{}",
        record.queue_id, record.queue_offset, record.physical_offset, record.total_size
    )?;
    write!(
        out,
        ",\"msgId\":\"{}\",\"version\":{},\"flag\":{},\"sysFlag\":{}",
        message_id::offset_id(record.store_host, offset),
        if record.is_v2 { 2 } else { 1 },
        record.flag,
        record.sys_flag
    )?;
    write!(
        out,
        ",\"bornTimestamp\":{},\"bornHost\":\"{}\",\"storeTimestamp\":{},\"storeHost\":\"{}\"",
        record.born_timestamp, record.born_host, record.store_timestamp, record.store_host
    )?;
    write!(
        out,
        ",\"reconsumeTimes\":{},\"preparedTransactionOffset\":{},\"bodyCrc\":{}",
        record.reconsume_times, record.prepared_transaction_offset, record.body_crc
    )?;
    write_properties(record, out)?;
    raw("body", record.body, out)?;
    out.write_all(b"}\n")
}

fn write_properties(record: &RecordView<'_>, out: &mut impl Write) -> io::Result<()> {
    let text = record.properties_text();
    let entries: Vec<_> = properties::iter(&text).collect();
    out.write_all(b",\"properties\":{")?;
    let mut again = Vec::with_capacity(record.properties.len());
    let mut separator = "";
    for (at, (name, value)) in entries.iter().enumerate() {
        // Of several with one name the last counts.
        if entries[at + 1..].iter().any(|(later, _)| later == name) {
            continue;
        }
        out.write_all(separator.as_bytes())?;
        separator = ",";
        string(name, out)?;
        out.write_all(b":")?;
        string(value, out)?;
        for part in [
            name.as_bytes(),
            &[properties::NAME_END],
            value.as_bytes(),
            &[properties::VALUE_END],
        ] {
            again.extend_from_slice(part);
        }
    }
    out.write_all(b"}")?;
    if again == record.properties {
        return Ok(());
    }
    raw("propertiesRaw", record.properties, out)
}

fn string(text: &str, out: &mut impl Write) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

fn raw(name: &str, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    write!(out, ",\"{name}\":\"")?;
    text::base64(bytes, out)?;
    out.write_all(b"\"")
}
