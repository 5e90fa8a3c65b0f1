//! Writing: `serde_json` does the work, a formatter leaves the quotes of integer keys away.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};

/// Whether the quote that opens a map key has been written yet: a number in a key comes without it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    /// Not inside a map key.
    Outside,
    /// A key is about to be written.
    InKey,
    /// A key has begun; what follows decides whether it is quoted.
    Pending,
    /// A quoted key is being written.
    Written,
}

struct RawIntegerKeys {
    quote: Quote,
}

impl RawIntegerKeys {
    fn text<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.quote == Quote::Pending {
            self.quote = Quote::Written;
            writer.write_all(b"\"")?;
        }
        Ok(())
    }

    fn number<W: ?Sized + Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        if self.quote == Quote::Pending {
            self.quote = Quote::InKey;
        }
        writer.write_all(text.as_bytes())
    }
}

macro_rules! integers {
    ($($name:ident: $type:ty),*) => {
        $(fn $name<W: ?Sized + Write>(&mut self, writer: &mut W, value: $type) -> io::Result<()> {
            self.number(writer, itoa::Buffer::new().format(value))
        })*
    };
}

impl Formatter for RawIntegerKeys {
    integers!(write_i8: i8, write_i16: i16, write_i32: i32, write_i64: i64);
    integers!(write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64);

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.quote = Quote::InKey;
        CompactFormatter.begin_object_key(writer, first)
    }

    /// No body holds plain bytes: they are text of the dialect already, from [`BeanKeys`].
    fn write_byte_array<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        text: &[u8],
    ) -> io::Result<()> {
        writer.write_all(text)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.quote = Quote::Outside;
        Ok(())
    }

    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.quote == Quote::InKey {
            self.quote = Quote::Pending;
            return Ok(());
        }
        writer.write_all(b"\"")
    }

    fn end_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.quote {
            Quote::InKey => Ok(()),
            Quote::Pending => writer.write_all(b"\"\""),
            Quote::Written | Quote::Outside => writer.write_all(b"\""),
        }
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        self.text(writer)?;
        writer.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.text(writer)?;
        CompactFormatter.write_char_escape(writer, escape)
    }
}

/// Appends `value` with bare integer keys.
pub(super) fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let quote = Quote::Outside;
    append_with(
        value,
        Serializer::with_formatter(out, RawIntegerKeys { quote }),
    );
}

/// Appends `value` as standard JSON.
pub(super) fn append_standard<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    append_with(value, Serializer::new(out));
}

#[expect(
    clippy::expect_used,
    reason = "bodies are plain structs with text or integer keys, and a Vec takes every write"
)]
fn append_with<T: Serialize + ?Sized, F: Formatter>(
    value: &T,
    mut serializer: Serializer<&mut Vec<u8>, F>,
) {
    let written = value.serialize(&mut serializer);
    written.expect("a body can be written as JSON");
}

/// A map whose keys are beans, each written as an object in key position.
struct BeanKeys<'a, K, V>(&'a BTreeMap<K, V>);

impl<K: Serialize, V: Serialize> Serialize for BeanKeys<'_, K, V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = b"{".to_vec();
        for (index, (key, value)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            append(key, &mut out);
            out.push(b':');
            append(value, &mut out);
        }
        out.push(b'}');
        serializer.serialize_bytes(&out)
    }
}

/// For members that are maps with beans as keys: `#[serde(serialize_with = "bean_keys")]`.
pub(crate) fn bean_keys<K: Serialize, V: Serialize, S: serde::Serializer>(
    map: &BTreeMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    BeanKeys(map).serialize(serializer)
}

/// As [`bean_keys`], for members that are maps of such maps.
pub(crate) fn tables_with_bean_keys<K: Serialize, V: Serialize, S: serde::Serializer>(
    tables: &BTreeMap<String, BTreeMap<K, V>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tables.iter().map(|(name, map)| (name, BeanKeys(map))))
}
