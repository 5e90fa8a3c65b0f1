//! Requests a broker serves.

use super::WireError;
use crate::wire::command::Command;
use crate::wire::header::{
    CreateTopicRequestHeader, DeleteSubscriptionGroupRequestHeader, DeleteTopicRequestHeader,
    GetAllSubscriptionGroupRequestHeader, GetAllTopicConfigRequestHeader,
    GetConsumerConnectionListRequestHeader, GetConsumerListByGroupRequestHeader,
    GetEarliestMsgStoretimeRequestHeader, GetMaxOffsetRequestHeader, GetMinOffsetRequestHeader,
    GetProducerConnectionListRequestHeader, GetSubscriptionGroupConfigRequestHeader,
    GetTopicConfigRequestHeader, GetTopicStatsInfoRequestHeader, PullMessageRequestHeader,
    QueryConsumerOffsetRequestHeader, QueryMessageRequestHeader,
    QueryTopicsByConsumerRequestHeader, SearchOffsetRequestHeader, SendForm,
    SendMessageRequestHeader, UnregisterClientRequestHeader, ViewMessageRequestHeader,
};
use crate::wire::request_code as code;

/// A request to a broker. Bodies are read by the handlers: what they hold depends on the request alone.
#[derive(Debug, Clone, PartialEq)]
pub enum Request<'a> {
    /// `SEND_MESSAGE`, `SEND_MESSAGE_V2`, `SEND_BATCH_MESSAGE`.
    SendMessage(SendMessageRequestHeader<'a>),
    /// `PULL_MESSAGE`, `LITE_PULL_MESSAGE`.
    PullMessage {
        /// The header.
        header: PullMessageRequestHeader,
        /// It came as `LITE_PULL_MESSAGE`.
        lite: bool,
    },
    /// `QUERY_CONSUMER_OFFSET`.
    QueryConsumerOffset(QueryConsumerOffsetRequestHeader),
    /// `UPDATE_CONSUMER_OFFSET`, still as fields: it answers malformed ones with a code of its own.
    UpdateConsumerOffset(&'a crate::wire::Fields),
    /// `SEARCH_OFFSET_BY_TIMESTAMP`.
    SearchOffset(SearchOffsetRequestHeader),
    /// `GET_MAX_OFFSET`.
    GetMaxOffset(GetMaxOffsetRequestHeader),
    /// `GET_MIN_OFFSET`.
    GetMinOffset(GetMinOffsetRequestHeader),
    /// `GET_EARLIEST_MSG_STORETIME`.
    GetEarliestMsgStoretime(GetEarliestMsgStoretimeRequestHeader),
    /// `QUERY_MESSAGE`.
    QueryMessage(QueryMessageRequestHeader),
    /// `VIEW_MESSAGE_BY_ID`.
    ViewMessage(ViewMessageRequestHeader),
    /// `HEART_BEAT`.
    Heartbeat,
    /// `UNREGISTER_CLIENT`.
    UnregisterClient(UnregisterClientRequestHeader),
    /// `CHECK_CLIENT_CONFIG`.
    CheckClientConfig,
    /// `GET_CONSUMER_LIST_BY_GROUP`.
    GetConsumerListByGroup(GetConsumerListByGroupRequestHeader),
    /// `GET_CONSUMER_CONNECTION_LIST`.
    GetConsumerConnectionList(GetConsumerConnectionListRequestHeader),
    /// `GET_PRODUCER_CONNECTION_LIST`.
    GetProducerConnectionList(GetProducerConnectionListRequestHeader),
    /// `LOCK_BATCH_MQ`.
    LockBatchMq,
    /// `UNLOCK_BATCH_MQ`.
    UnlockBatchMq,
    /// `UPDATE_AND_CREATE_TOPIC`.
    CreateTopic(CreateTopicRequestHeader),
    /// `UPDATE_AND_CREATE_TOPIC_LIST`.
    CreateTopicList,
    /// `DELETE_TOPIC_IN_BROKER`.
    DeleteTopic(DeleteTopicRequestHeader),
    /// `GET_ALL_TOPIC_CONFIG`.
    GetAllTopicConfig(GetAllTopicConfigRequestHeader),
    /// `GET_TOPIC_CONFIG`.
    GetTopicConfig(GetTopicConfigRequestHeader),
    /// `GET_TOPIC_STATS_INFO`.
    GetTopicStatsInfo(GetTopicStatsInfoRequestHeader),
    /// `GET_SYSTEM_TOPIC_LIST_FROM_BROKER`.
    GetSystemTopicList,
    /// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP`.
    CreateSubscriptionGroup,
    /// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST`.
    CreateSubscriptionGroupList,
    /// `DELETE_SUBSCRIPTIONGROUP`.
    DeleteSubscriptionGroup(DeleteSubscriptionGroupRequestHeader),
    /// `GET_ALL_SUBSCRIPTIONGROUP_CONFIG`.
    GetAllSubscriptionGroup(GetAllSubscriptionGroupRequestHeader),
    /// `GET_SUBSCRIPTIONGROUP_CONFIG`.
    GetSubscriptionGroupConfig(GetSubscriptionGroupConfigRequestHeader),
    /// `QUERY_TOPICS_BY_CONSUMER`.
    QueryTopicsByConsumer(QueryTopicsByConsumerRequestHeader),
    /// `CLEAN_EXPIRED_CONSUMEQUEUE`.
    CleanExpiredConsumeQueue,
    /// `DELETE_EXPIRED_COMMITLOG`.
    DeleteExpiredCommitLog,
    /// `GET_BROKER_RUNTIME_INFO`.
    GetBrokerRuntimeInfo,
    /// `GET_BROKER_CONFIG`.
    GetBrokerConfig,
}

/// The only place where a broker reads `code` and `extFields`.
///
/// # Errors
/// An unknown code, or the first field that is missing or wrong.
pub fn parse(command: &Command) -> Result<Request<'_>, WireError> {
    let fields = &command.fields;
    Ok(match command.code {
        code::SEND_MESSAGE_V2 | code::SEND_BATCH_MESSAGE => {
            Request::SendMessage(SendMessageRequestHeader::parse(fields, SendForm::Short)?)
        }
        code::SEND_MESSAGE => {
            Request::SendMessage(SendMessageRequestHeader::parse(fields, SendForm::Long)?)
        }
        code::PULL_MESSAGE => Request::PullMessage {
            header: command.header()?,
            lite: false,
        },
        code::LITE_PULL_MESSAGE => Request::PullMessage {
            header: command.header()?,
            lite: true,
        },
        code::QUERY_CONSUMER_OFFSET => Request::QueryConsumerOffset(command.header()?),
        code::UPDATE_CONSUMER_OFFSET => Request::UpdateConsumerOffset(fields),
        code::SEARCH_OFFSET_BY_TIMESTAMP => Request::SearchOffset(command.header()?),
        code::GET_MAX_OFFSET => Request::GetMaxOffset(command.header()?),
        code::GET_MIN_OFFSET => Request::GetMinOffset(command.header()?),
        code::GET_EARLIEST_MSG_STORETIME => Request::GetEarliestMsgStoretime(command.header()?),
        code::QUERY_MESSAGE => Request::QueryMessage(command.header()?),
        code::VIEW_MESSAGE_BY_ID => Request::ViewMessage(command.header()?),
        code::HEART_BEAT => Request::Heartbeat,
        code::UNREGISTER_CLIENT => Request::UnregisterClient(command.header()?),
        code::CHECK_CLIENT_CONFIG => Request::CheckClientConfig,
        code::GET_CONSUMER_LIST_BY_GROUP => Request::GetConsumerListByGroup(command.header()?),
        code::GET_CONSUMER_CONNECTION_LIST => Request::GetConsumerConnectionList(command.header()?),
        code::GET_PRODUCER_CONNECTION_LIST => Request::GetProducerConnectionList(command.header()?),
        code::LOCK_BATCH_MQ => Request::LockBatchMq,
        code::UNLOCK_BATCH_MQ => Request::UnlockBatchMq,
        code::UPDATE_AND_CREATE_TOPIC => Request::CreateTopic(command.header()?),
        code::UPDATE_AND_CREATE_TOPIC_LIST => Request::CreateTopicList,
        code::DELETE_TOPIC_IN_BROKER => Request::DeleteTopic(command.header()?),
        code::GET_ALL_TOPIC_CONFIG => Request::GetAllTopicConfig(command.header()?),
        code::GET_TOPIC_CONFIG => Request::GetTopicConfig(command.header()?),
        code::GET_TOPIC_STATS_INFO => Request::GetTopicStatsInfo(command.header()?),
        code::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => Request::GetSystemTopicList,
        code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => Request::CreateSubscriptionGroup,
        code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => Request::CreateSubscriptionGroupList,
        code::DELETE_SUBSCRIPTIONGROUP => Request::DeleteSubscriptionGroup(command.header()?),
        code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => {
            Request::GetAllSubscriptionGroup(command.header()?)
        }
        code::GET_SUBSCRIPTIONGROUP_CONFIG => {
            Request::GetSubscriptionGroupConfig(command.header()?)
        }
        code::QUERY_TOPICS_BY_CONSUMER => Request::QueryTopicsByConsumer(command.header()?),
        code::CLEAN_EXPIRED_CONSUMEQUEUE => Request::CleanExpiredConsumeQueue,
        code::DELETE_EXPIRED_COMMITLOG => Request::DeleteExpiredCommitLog,
        code::GET_BROKER_RUNTIME_INFO => Request::GetBrokerRuntimeInfo,
        code::GET_BROKER_CONFIG => Request::GetBrokerConfig,
        code => return Err(WireError::UnsupportedCode { code }),
    })
}
