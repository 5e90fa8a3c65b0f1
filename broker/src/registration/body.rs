//! What is told to a name server, as requests.

use super::RegistrationSettings;
use bytes::Bytes;
use common::message::record::body_crc;
use common::wire::body::{RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper};
use common::wire::header::{BrokerRequestHeader, RegisterBrokerRequestHeader};
use common::wire::{Command, request_code};

/// A registration of the topics in `topics`.
pub(super) fn register(
    settings: &RegistrationSettings,
    mut topics: TopicConfigSerializeWrapper,
) -> (Command, Bytes) {
    for topic in topics.topic_config_table.values_mut() {
        topic.perm = permission(topic, settings.permission);
    }
    let body = RegisterBrokerBody {
        filter_server_list: Vec::new(),
        topic_config_serialize_wrapper: topics,
    };
    let body = body.encode();
    let header = RegisterBrokerRequestHeader {
        broker_name: settings.broker_name.clone(),
        broker_addr: settings.broker_addr.clone(),
        cluster_name: settings.cluster_name.clone(),
        ha_server_addr: settings.ha_server_addr.clone(),
        broker_id: settings.broker_id,
        heartbeat_timeout_millis: None,
        enable_acting_master: Some(false),
        compressed: Some(false),
        body_crc32: Some(body_crc(&body).to_string()),
        zone_name: None,
    };
    (
        Command::request(request_code::REGISTER_BROKER).with(&header),
        body.into(),
    )
}

/// What the topic allows on a broker that allows `allowed`.
fn permission(topic: &TopicConfig, allowed: i32) -> i32 {
    use crate::topic::perm::READ_WRITE;
    if allowed & READ_WRITE == READ_WRITE {
        topic.perm
    } else {
        topic.perm & allowed
    }
}

/// Whether the name server knows this version of the topics.
pub(super) fn query_data_version(
    settings: &RegistrationSettings,
    topics: &TopicConfigSerializeWrapper,
) -> (Command, Bytes) {
    let body = topics.data_version.encode();
    (
        Command::request(request_code::QUERY_DATA_VERSION).with(&identity(settings)),
        body.into(),
    )
}

/// The broker is going.
pub(super) fn unregister(settings: &RegistrationSettings) -> Command {
    Command::request(request_code::UNREGISTER_BROKER).with(&identity(settings))
}

/// Which broker this is.
fn identity(settings: &RegistrationSettings) -> BrokerRequestHeader {
    BrokerRequestHeader {
        broker_name: settings.broker_name.clone(),
        broker_addr: settings.broker_addr.clone(),
        cluster_name: settings.cluster_name.clone(),
        broker_id: settings.broker_id,
    }
}

/// The topics in portions of at most `size`.
pub(super) fn portions(
    topics: TopicConfigSerializeWrapper,
    size: usize,
) -> Vec<TopicConfigSerializeWrapper> {
    let mut left = topics.topic_config_table.into_iter().peekable();
    let mut portions = Vec::new();
    while left.peek().is_some() {
        portions.push(TopicConfigSerializeWrapper {
            data_version: topics.data_version,
            topic_config_table: left.by_ref().take(size.max(1)).collect(),
            ..TopicConfigSerializeWrapper::default()
        });
    }
    portions
}
