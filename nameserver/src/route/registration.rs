//! The body of a registration: JSON of two ages, or a compressed form.

use std::io::Read as _;

use common::wire::body::{
    DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper, TopicFilterType,
    TopicQueueMappingInfo,
};
use common::wire::fastjson::{self, JsonError};
use flate2::read::ZlibDecoder;

/// Brokers from this version (`V3_0_11`) on send their filter servers with their topics.
const FILTER_SERVERS_SINCE: i32 = 37;
/// Brokers from this version (`V5_0_0`) on end a compressed body with the static mappings.
const MAPPINGS_SINCE: i32 = 413;
/// Bytes a compressed body may inflate to: half a million topics with long names.
const INFLATED_LIMIT_BYTES: u64 = 128 << 20;

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Its checksum is another one than the header says.
    #[error("crc32 not match")]
    Checksum,
    /// It is no JSON of the right shape.
    #[error("the registration cannot be read: {0}")]
    Json(#[from] JsonError),
    /// It cannot be inflated.
    #[error("the registration cannot be inflated")]
    Inflate(#[source] std::io::Error),
    /// It inflates to too much.
    #[error("the registration inflates to more than {limit_bytes} bytes")]
    TooLarge {
        /// What it may inflate to.
        limit_bytes: u64,
    },
    /// It ends early or has a part that makes no sense.
    #[error("the registration is damaged at byte {at}: {what}")]
    Damaged {
        /// Where, in the inflated bytes.
        at: usize,
        /// What was expected.
        what: &'static str,
    },
}

/// Topics and filter servers of a registration; the latter are `None` if the broker's version does not know them.
pub type Content = (TopicConfigSerializeWrapper, Option<Vec<String>>);

/// Reads the body of a broker of version `version`. `crc` is the checksum it must have, if it is to be checked.
///
/// # Errors
/// See [`BodyError`].
pub fn read_body(
    body: &[u8],
    version: i32,
    compressed: bool,
    crc: Option<i32>,
) -> Result<Content, BodyError> {
    // The reference keeps the checksum in a signed number and drops its sign.
    if crc.is_some_and(|crc| u32::try_from(crc) != Ok(crc32fast::hash(body) & 0x7FFF_FFFF)) {
        return Err(BodyError::Checksum);
    }
    if body.is_empty() {
        return Ok((TopicConfigSerializeWrapper::default(), Some(Vec::new())));
    }
    if version < FILTER_SERVERS_SINCE {
        return Ok((TopicConfigSerializeWrapper::decode(body)?, None));
    }
    if compressed {
        return read_inflated(&inflate(body, INFLATED_LIMIT_BYTES)?, version);
    }
    let body = RegisterBrokerBody::decode(body)?;
    Ok((
        body.topic_config_serialize_wrapper,
        Some(body.filter_server_list),
    ))
}

fn inflate(body: &[u8], limit_bytes: u64) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    let mut inflating = ZlibDecoder::new(body).take(limit_bytes + 1);
    inflating
        .read_to_end(&mut bytes)
        .map_err(BodyError::Inflate)?;
    if inflating.limit() == 0 {
        return Err(BodyError::TooLarge { limit_bytes });
    }
    Ok(bytes)
}

fn read_inflated(bytes: &[u8], version: i32) -> Result<Content, BodyError> {
    let mut reader = Reader { bytes, at: 0 };
    let mut topics = TopicConfigSerializeWrapper {
        data_version: DataVersion::decode(reader.piece()?)?,
        ..TopicConfigSerializeWrapper::default()
    };
    for _ in 0..reader.length()? {
        let at = reader.at;
        let config = topic_line(reader.piece()?).ok_or(BodyError::Damaged {
            at,
            what: "a line with the fields of a topic",
        })??;
        topics
            .topic_config_table
            .insert(config.topic_name.clone(), config);
    }
    let filter_servers = fastjson::from_slice::<Vec<String>>(reader.piece()?)?;
    if version >= MAPPINGS_SINCE {
        for _ in 0..reader.length()? {
            let mapping = TopicQueueMappingInfo::decode(reader.piece()?)?;
            topics
                .topic_queue_mapping_info_map
                .insert(mapping.topic.clone(), mapping);
        }
    }
    Ok((topics, Some(filter_servers)))
}

/// `topicName readQueueNums writeQueueNums perm topicFilterType [attributes]`
fn topic_line(line: &[u8]) -> Option<Result<TopicConfig, JsonError>> {
    let mut parts = std::str::from_utf8(line).ok()?.splitn(6, ' ');
    let mut config = TopicConfig {
        topic_name: parts.next()?.to_owned(),
        read_queue_nums: parts.next()?.parse().ok()?,
        write_queue_nums: parts.next()?.parse().ok()?,
        perm: parts.next()?.parse().ok()?,
        topic_filter_type: TopicFilterType::from_name(parts.next()?)?,
        ..TopicConfig::default()
    };
    if let Some(attributes) = parts.next().filter(|text| !text.is_empty()) {
        match fastjson::from_slice(attributes.as_bytes()) {
            Ok(attributes) => config.attributes = attributes,
            Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(config))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize, what: &'static str) -> Result<&'a [u8], BodyError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest
            .get(..bytes)
            .ok_or(BodyError::Damaged { at: self.at, what })?;
        self.at += bytes;
        Ok(taken)
    }

    fn length(&mut self) -> Result<usize, BodyError> {
        let damaged = BodyError::Damaged {
            at: self.at,
            what: "a number that is not negative",
        };
        let bytes = self.take(4, "four bytes of a number")?;
        let number = bytes
            .iter()
            .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let number = i32::try_from(number).ok();
        number
            .and_then(|number| usize::try_from(number).ok())
            .ok_or(damaged)
    }

    fn piece(&mut self) -> Result<&'a [u8], BodyError> {
        let length = self.length()?;
        self.take(length, "as many bytes as announced")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn deflate(raw: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(raw).unwrap();
        encoder.finish().unwrap()
    }

    fn number(out: &mut Vec<u8>, number: usize) {
        out.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    }

    fn piece(out: &mut Vec<u8>, text: &str) {
        number(out, text.len());
        out.extend_from_slice(text.as_bytes());
    }

    fn raw(mappings: bool) -> Vec<u8> {
        let mut out = Vec::new();
        piece(&mut out, r#"{"counter":7,"stateVersion":1,"timestamp":5}"#);
        number(&mut out, 2);
        piece(&mut out, "t1 3 5 4 SINGLE_TAG {}");
        piece(&mut out, r#"t2 1 1 6 MULTI_TAG {"message.type":"A B"}"#);
        piece(&mut out, r#"["f:1"]"#);
        if mappings {
            number(&mut out, 1);
            piece(
                &mut out,
                r#"{"bname":"b","currIdMap":{0:1},"topic":"t1","totalQueues":1}"#,
            );
        }
        out
    }

    #[test]
    fn a_compressed_body_is_read_with_and_without_mappings() {
        for (version, mappings) in [(513, true), (413, true), (401, false)] {
            let (topics, filters) =
                read_body(&deflate(&raw(mappings)), version, true, None).unwrap();
            assert_eq!(topics.data_version.counter, 7);
            let first = &topics.topic_config_table["t1"];
            assert_eq!(
                (first.read_queue_nums, first.write_queue_nums, first.perm),
                (3, 5, 4)
            );
            assert_eq!(
                topics.topic_config_table["t2"].attributes["message.type"],
                "A B"
            );
            assert_eq!(filters, Some(vec!["f:1".to_owned()]));
            assert_eq!(
                topics.topic_queue_mapping_info_map.contains_key("t1"),
                mappings
            );
        }
    }

    #[test]
    fn every_proper_prefix_of_a_compressed_body_is_refused() {
        let raw = raw(true);
        for end in 0..raw.len() {
            assert!(
                read_body(&deflate(&raw[..end]), 513, true, None).is_err(),
                "{end}"
            );
        }
        let whole = deflate(&raw);
        for end in 1..whole.len() - 4 {
            assert!(read_body(&whole[..end], 513, true, None).is_err(), "{end}");
        }
    }

    #[test]
    fn a_body_that_inflates_beyond_the_limit_is_refused() {
        let body = deflate(&[0; 1000]);
        assert_eq!(inflate(&body, 1000).unwrap().len(), 1000);
        let error = inflate(&body, 999).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the registration inflates to more than 999 bytes"
        );
    }

    #[test]
    fn negative_lengths_are_damage() {
        let error = read_body(&deflate(&[0xFF; 8]), 513, true, None).unwrap_err();
        assert!(matches!(error, BodyError::Damaged { at: 0, .. }), "{error}");
    }

    #[test]
    fn the_checksum_has_no_sign_bit() {
        let body = (0..).map(|n: u32| format!(r#"{{"n":{n}}}"#));
        let body = body
            .into_iter()
            .find(|body| crc32fast::hash(body.as_bytes()) >> 31 == 1)
            .unwrap();
        let full = crc32fast::hash(body.as_bytes());
        let masked = i32::try_from(full & 0x7FFF_FFFF).unwrap();
        assert!(read_body(body.as_bytes(), 513, false, Some(masked)).is_ok());
        assert!(read_body(body.as_bytes(), 513, false, Some(masked - 1)).is_err());
        let signed = i32::from_be_bytes(full.to_be_bytes());
        assert!(matches!(
            read_body(body.as_bytes(), 513, false, Some(signed)),
            Err(BodyError::Checksum)
        ));
    }

    /// What Apache RocketMQ 5.5.0 registers when it starts with defaults, and the checksum it sends with it.
    const REFERENCE_BODY: &[u8] = include_bytes!("../../golden/register_broker.json");
    const REFERENCE_CRC: i32 = 993_984_397;

    #[test]
    fn the_registration_of_the_reference_is_read_without_loss() {
        let crc = Some(REFERENCE_CRC);
        let (topics, filters) = read_body(REFERENCE_BODY, 513, false, crc).unwrap();
        let benchmark = &topics.topic_config_table["BenchmarkTest"];
        assert_eq!((benchmark.read_queue_nums, benchmark.perm), (1024, 6));
        let body = RegisterBrokerBody {
            filter_server_list: filters.unwrap(),
            topic_config_serialize_wrapper: topics,
        };
        let read: serde_json::Value = serde_json::from_slice(&body.encode_standard()).unwrap();
        let sent: serde_json::Value = serde_json::from_slice(REFERENCE_BODY).unwrap();
        assert_eq!(read, sent);
        for end in 1..REFERENCE_BODY.len() {
            assert!(
                read_body(&REFERENCE_BODY[..end], 513, false, None).is_err(),
                "{end}"
            );
        }
    }

    #[test]
    fn an_ancient_broker_sends_the_bare_table() {
        let body = br#"{"dataVersion":{"counter":1},"topicConfigTable":{"t":{"topicName":"t"}}}"#;
        let (topics, filters) = read_body(body, 36, false, None).unwrap();
        assert!(topics.topic_config_table.contains_key("t") && filters.is_none());
        let (topics, filters) = read_body(body, 37, false, None).unwrap();
        assert!(topics.topic_config_table.is_empty() && filters == Some(Vec::new()));
    }
}
