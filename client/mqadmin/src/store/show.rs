//! A message for people.

use std::io::{self, Write};

use common::ids::PhysicalOffset;
use common::message::record::RecordView;
use common::message::{
    CompressionError, MAX_DECOMPRESSED_BYTES, decompress, message_id, properties, sys_flag,
};

use crate::text;

/// How a body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Text where it is some, hexadecimal otherwise.
    Auto,
    /// Text; what is none is made visible.
    Text,
    /// Hexadecimal, with the text beside it.
    Hex,
    /// Base64.
    Base64,
}

/// The body as its sender had it.
pub fn body(record: &RecordView<'_>) -> Result<Vec<u8>, CompressionError> {
    decompress(record.body, record.sys_flag, MAX_DECOMPRESSED_BYTES)
}

/// Writes a message: what its record says, properties, and at most `limit` bytes of the body.
pub fn write(
    record: &RecordView<'_>,
    form: Form,
    limit: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let topic = text::escaped(record.topic);
    writeln!(
        out,
        "── {topic} queue {} offset {}",
        record.queue_id, record.queue_offset
    )?;
    let offset = PhysicalOffset::from_wire(record.physical_offset).unwrap_or_default();
    let id = message_id::offset_id(record.store_host, offset);
    writeln!(
        out,
        "   log      offset {}, {} bytes, id {id}",
        record.physical_offset, record.total_size
    )?;
    writeln!(
        out,
        "   stored   {} by {}",
        text::time(record.store_timestamp),
        record.store_host
    )?;
    writeln!(
        out,
        "   born     {} at {}",
        text::time(record.born_timestamp),
        record.born_host
    )?;
    let mut notes = vec![format!("flag {}", record.flag)];
    notes.extend(kinds(record.sys_flag).map(str::to_owned));
    if record.reconsume_times != 0 {
        notes.push(format!(
            "consumed {} times without success",
            record.reconsume_times
        ));
    }
    if record.prepared_transaction_offset != 0 {
        notes.push(format!(
            "first half at {}",
            record.prepared_transaction_offset
        ));
    }
    writeln!(
        out,
        "   says     {} (sysFlag {})",
        notes.join(", "),
        record.sys_flag
    )?;
    for (name, value) in properties::iter(&record.properties_text()) {
        writeln!(
            out,
            "   {} = {}",
            text::escaped(name.as_bytes()),
            text::escaped(value.as_bytes())
        )?;
    }
    match body(record) {
        Ok(body) => {
            if body.len() == record.body.len() {
                writeln!(out, "   body     {} bytes", body.len())?;
            } else {
                writeln!(
                    out,
                    "   body     {} bytes, {} as stored",
                    body.len(),
                    record.body.len()
                )?;
            }
            write_body(&body, form, limit, out)
        }
        Err(error) => {
            writeln!(
                out,
                "   body     {} bytes as stored: {error}",
                record.body.len()
            )?;
            write_body(record.body, form, limit, out)
        }
    }
}

fn kinds(flag: i32) -> impl Iterator<Item = &'static str> {
    let transaction = match flag & sys_flag::TRANSACTION_TYPE {
        sys_flag::TRANSACTION_PREPARED => Some("first half of a transaction"),
        sys_flag::TRANSACTION_COMMIT => Some("committed transaction"),
        sys_flag::TRANSACTION_ROLLBACK => Some("rolled back transaction"),
        _ => None,
    };
    let compressed = (flag & sys_flag::COMPRESSED != 0).then_some("compressed");
    transaction.into_iter().chain(compressed)
}

fn write_body(body: &[u8], form: Form, limit: usize, out: &mut impl Write) -> io::Result<()> {
    let shown = &body[..body.len().min(limit)];
    // A cut may go through a character.
    let whole =
        (0..4.min(shown.len() + 1)).find_map(|less| text::printable(&shown[..shown.len() - less]));
    match (form, whole) {
        _ if shown.is_empty() => {}
        (Form::Auto, Some(text)) => writeln!(out, "{text}")?,
        (Form::Text, _) => writeln!(out, "{}", text::escaped(shown))?,
        (Form::Base64, _) => {
            text::base64(shown, out)?;
            writeln!(out)?;
        }
        (Form::Hex | Form::Auto, _) => hex(shown, out)?,
    }
    if shown.len() < body.len() {
        writeln!(out, "… {} more bytes", body.len() - shown.len())?;
    }
    Ok(())
}

fn hex(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    for (row, bytes) in bytes.chunks(16).enumerate() {
        write!(out, "   {:08x} ", row * 16)?;
        for at in 0..16 {
            match bytes.get(at) {
                Some(byte) => write!(out, " {byte:02x}")?,
                None => write!(out, "   ")?,
            }
        }
        let shown = bytes.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        writeln!(out, "  {}", shown.collect::<String>())?;
    }
    Ok(())
}
