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
    let RecordView {
        queue_id,
        queue_offset,
        physical_offset,
        total_size,
        store_host,
        born_host,
        flag,
        sys_flag,
        reconsume_times,
        prepared_transaction_offset,
        ..
    } = *record;
    let topic = text::escaped(record.topic);
    let offset = PhysicalOffset::from_wire(physical_offset).unwrap_or_default();
    let id = message_id::offset_id(store_host, offset);
    let stored = text::time(record.store_timestamp);
    let born = text::time(record.born_timestamp);
    writeln!(out, "── {topic} queue {queue_id} offset {queue_offset}")?;
    writeln!(
        out,
        "   log      offset {physical_offset}, {total_size} bytes, id {id}"
    )?;
    writeln!(out, "   stored   {stored} by {store_host}")?;
    writeln!(out, "   born     {born} at {born_host}")?;
    let mut notes = vec![format!("flag {flag}")];
    notes.extend(kinds(sys_flag).map(str::to_owned));
    if reconsume_times != 0 {
        notes.push(format!("consumed {reconsume_times} times without success"));
    }
    if prepared_transaction_offset != 0 {
        notes.push(format!("first half at {prepared_transaction_offset}"));
    }
    let notes = notes.join(", ");
    writeln!(out, "   says     {notes} (sysFlag {sys_flag})")?;
    for (name, value) in properties::iter(&record.properties_text()) {
        let (name, value) = (
            text::escaped(name.as_bytes()),
            text::escaped(value.as_bytes()),
        );
        writeln!(out, "   {name} = {value}")?;
    }
    let stored = record.body.len();
    match body(record) {
        Ok(body) if body.len() == stored => {
            writeln!(out, "   body     {stored} bytes")?;
            write_body(&body, form, limit, out)
        }
        Ok(body) => {
            writeln!(out, "   body     {} bytes, {stored} as stored", body.len())?;
            write_body(&body, form, limit, out)
        }
        Err(error) => {
            writeln!(out, "   body     {stored} bytes as stored: {error}")?;
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
