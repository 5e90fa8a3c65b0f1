//! A parsed document, and serde's view of it: types are coerced the way Java does (a quoted number is a number).

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::JsonError;

/// One value of a document. Keys of maps are values too: Fastjson allows objects there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// Values in the tree, itself and keys included.
    pub(super) fn values(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Self::values).sum::<usize>(),
            Self::Map(members) => {
                1 + members
                    .iter()
                    .map(|(key, value)| key.values() + value.values())
                    .sum::<usize>()
            }
            _ => 1,
        }
    }
}

impl de::Error for JsonError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl IntoDeserializer<'_, JsonError> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A number asked for: quoted ones are read, everything else goes the usual way (and fails with serde's message).
macro_rules! numbers {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            match &self {
                Value::Text(text) => match (text.trim().parse::<i64>(), text.trim().parse::<f64>()) {
                    (Ok(number), _) => visitor.visit_i64(number),
                    (_, Ok(number)) => visitor.visit_f64(number),
                    _ => self.deserialize_any(visitor),
                },
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Value {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Integer(value) => visitor.visit_i64(value),
            Self::Float(value) => visitor.visit_f64(value),
            Self::Text(value) => visitor.visit_string(value),
            Self::List(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
            Self::Map(members) => visitor.visit_map(MapDeserializer::new(members.into_iter())),
        }
    }

    numbers!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
             deserialize_f32 deserialize_f64);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match &self {
            Self::Text(text) if text.eq_ignore_ascii_case("true") => visitor.visit_bool(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => visitor.visit_bool(false),
            Self::Integer(number) => visitor.visit_bool(*number != 0),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Self::Bool(value) => visitor.visit_string(value.to_string()),
            Self::Integer(value) => visitor.visit_string(value.to_string()),
            Self::Float(value) => visitor.visit_string(value.to_string()),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Self::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let Self::Map(members) = self else {
            return self.deserialize_any(visitor);
        };
        // A name given twice means its last value; unknown names mean nothing.
        let mut known: Vec<(&'static str, Value)> = Vec::with_capacity(fields.len());
        for (key, value) in members {
            let Self::Text(name) = key else { continue };
            let Some(field) = fields.iter().find(|field| **field == name) else {
                continue;
            };
            match known.iter_mut().find(|(earlier, _)| earlier == field) {
                Some(earlier) => earlier.1 = value,
                None => known.push((field, value)),
            }
        }
        visitor.visit_map(MapDeserializer::new(known.into_iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        match &self {
            Self::Text(name) => visitor.visit_enum(StrDeserializer::new(name)),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any }
}
