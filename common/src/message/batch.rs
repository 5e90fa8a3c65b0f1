//! The body of a batch send: messages back to back, each
//! `totalSize(4) magic(4)=0 bodyCRC(4)=0 flag(4) bodyLength(4) body propertiesLength(2)
//! properties`.

use super::properties::{self, MAX_PROPERTIES_BYTES};
use super::sys_flag;
use crate::scan::{take, take_bytes};

const HEAD_BYTES: usize = 20;

/// Most messages one record can stand for.
pub const MAX_INNER_MESSAGES: u32 = 0x7FFF;

/// How many messages a record stands for: 1 but where a whole batch is one record.
pub fn inner_messages(sys_flag: i32, properties: &[u8]) -> u32 {
    if sys_flag & sys_flag::INNER_BATCH == 0 {
        return 1;
    }
    let number = properties::get_bytes(properties, properties::INNER_NUM.as_bytes());
    let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
    number.unwrap_or(1).clamp(1, MAX_INNER_MESSAGES)
}

/// One message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMessage<'a> {
    /// The application's flag.
    pub flag: i32,
    /// The body; batches are never compressed.
    pub body: &'a [u8],
    /// Its own properties string.
    pub properties: &'a str,
}

/// Why a batch body cannot be split.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BatchError {
    /// A length points beyond the end, or the parts do not add up.
    #[error("batch message {index} at byte {at} is cut off or its lengths contradict each other")]
    Lengths {
        /// Which message, from 0.
        index: usize,
        /// Where in the batch body it starts.
        at: usize,
    },
    /// The properties are not UTF-8.
    #[error("properties of batch message {index} are not UTF-8")]
    Properties {
        /// Which message, from 0.
        index: usize,
    },
    /// The properties do not fit their length field.
    #[error("properties of {bytes} bytes exceed {MAX_PROPERTIES_BYTES}")]
    PropertiesTooLong {
        /// Bytes of the properties string.
        bytes: usize,
    },
    /// The body does not fit its length field.
    #[error("body of {bytes} bytes does not fit a batch")]
    BodyTooLong {
        /// Bytes of the body.
        bytes: usize,
    },
}

/// The messages of a batch body. The first error is the last item.
pub fn split(body: &[u8]) -> impl Iterator<Item = Result<BatchMessage<'_>, BatchError>> {
    let mut at = 0;
    let mut index = 0;
    std::iter::from_fn(move || {
        if at >= body.len() {
            return None;
        }
        let message = match message_at(&body[at..]) {
            None => Err(BatchError::Lengths { index, at }),
            Some((len, flag, content, properties)) => {
                at += len;
                std::str::from_utf8(properties)
                    .map(|properties| BatchMessage {
                        flag,
                        body: content,
                        properties,
                    })
                    .map_err(|_| BatchError::Properties { index })
            }
        };
        if message.is_err() {
            at = body.len();
        }
        index += 1;
        Some(message)
    })
}

/// Length of the message that `bytes` begin with, its flag, body and properties.
fn message_at(bytes: &[u8]) -> Option<(usize, i32, &[u8], &[u8])> {
    let total = usize::try_from(i32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    let mut rest = bytes.get(..total)?.get(12..)?;
    let flag = i32::from_be_bytes(take(&mut rest)?);
    let body_length = i32::from_be_bytes(take(&mut rest)?);
    let body = take_bytes(&mut rest, body_length)?;
    let properties_length = i16::from_be_bytes(take(&mut rest)?);
    (usize::try_from(properties_length).ok()? == rest.len()).then_some((total, flag, body, rest))
}

/// Appends one message to a batch body.
///
/// # Errors
/// When body or properties do not fit their length fields; `out` is unchanged then.
pub fn encode(message: &BatchMessage<'_>, out: &mut Vec<u8>) -> Result<(), BatchError> {
    let properties_length =
        i16::try_from(message.properties.len()).map_err(|_| BatchError::PropertiesTooLong {
            bytes: message.properties.len(),
        })?;
    let total = HEAD_BYTES + message.body.len() + 2 + message.properties.len();
    let too_long = |_| BatchError::BodyTooLong {
        bytes: message.body.len(),
    };
    let total_size = i32::try_from(total).map_err(too_long)?;
    let body_length = i32::try_from(message.body.len()).map_err(too_long)?;
    out.reserve(total);
    out.extend_from_slice(&total_size.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&message.flag.to_be_bytes());
    out.extend_from_slice(&body_length.to_be_bytes());
    out.extend_from_slice(message.body);
    out.extend_from_slice(&properties_length.to_be_bytes());
    out.extend_from_slice(message.properties.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOLDEN: [u8; 27] = [
        0, 0, 0, 27, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, b'x', 0, 4, b'a', 1, b'b', 2,
    ];

    #[test]
    fn one_message_has_the_documented_bytes() {
        let message = BatchMessage {
            flag: 7,
            body: b"x",
            properties: "a\u{1}b\u{2}",
        };
        let mut out = Vec::new();
        encode(&message, &mut out).unwrap();
        assert_eq!(out, GOLDEN);
        assert_eq!(split(&GOLDEN).collect::<Vec<_>>(), [Ok(message)]);
    }

    #[test]
    fn every_proper_prefix_is_refused() {
        for len in 1..GOLDEN.len() {
            let items: Vec<_> = split(&GOLDEN[..len]).collect();
            assert_eq!(
                items,
                [Err(BatchError::Lengths { index: 0, at: 0 })],
                "{len}"
            );
        }
    }

    #[test]
    fn second_message_names_its_place() {
        let mut body = GOLDEN.to_vec();
        body.extend_from_slice(&GOLDEN[..9]);
        assert_eq!(
            split(&body).nth(1),
            Some(Err(BatchError::Lengths { index: 1, at: 27 }))
        );
    }

    #[test]
    fn properties_that_are_no_text_are_refused() {
        let mut body = GOLDEN;
        body[23] = 0xFF;
        assert_eq!(
            split(&body).collect::<Vec<_>>(),
            [Err(BatchError::Properties { index: 0 })]
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_split(
            messages in proptest::collection::vec(
                (any::<i32>(), proptest::collection::vec(any::<u8>(), 0..40), ".{0,10}"), 0..5)
        ) {
            let mut out = Vec::new();
            for (flag, body, properties) in &messages {
                encode(&BatchMessage { flag: *flag, body, properties }, &mut out).unwrap();
            }
            let read: Vec<_> = split(&out)
                .map(Result::unwrap)
                .map(|m| (m.flag, m.body.to_vec(), m.properties.to_owned()))
                .collect();
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = split(&bytes).count();
        }
    }
}
