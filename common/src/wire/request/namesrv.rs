//! Requests a name server serves.

use super::WireError;
use crate::wire::command::Command;
use crate::wire::header::namesrv::{
    AddWritePermOfBrokerRequestHeader, BrokerHeartbeatRequestHeader, DeleteKvConfigRequestHeader,
    DeleteTopicFromNamesrvRequestHeader, GetBrokerMemberGroupRequestHeader,
    GetKvConfigRequestHeader, GetKvListByNamespaceRequestHeader, GetRouteInfoRequestHeader,
    GetTopicsByClusterRequestHeader, PutKvConfigRequestHeader, QueryDataVersionRequestHeader,
    RegisterBrokerRequestHeader, RegisterTopicRequestHeader, UnregisterBrokerRequestHeader,
    WipeWritePermOfBrokerRequestHeader,
};
use crate::wire::request_code as code;

/// A request to a name server. Bodies are read by the handlers.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// `PUT_KV_CONFIG`.
    PutKvConfig(PutKvConfigRequestHeader),
    /// `GET_KV_CONFIG`.
    GetKvConfig(GetKvConfigRequestHeader),
    /// `DELETE_KV_CONFIG`.
    DeleteKvConfig(DeleteKvConfigRequestHeader),
    /// `GET_KVLIST_BY_NAMESPACE`.
    GetKvListByNamespace(GetKvListByNamespaceRequestHeader),
    /// `REGISTER_BROKER`.
    RegisterBroker(Box<RegisterBrokerRequestHeader>),
    /// `UNREGISTER_BROKER`.
    UnregisterBroker(UnregisterBrokerRequestHeader),
    /// `BROKER_HEARTBEAT`.
    BrokerHeartbeat(BrokerHeartbeatRequestHeader),
    /// `QUERY_DATA_VERSION`.
    QueryDataVersion(QueryDataVersionRequestHeader),
    /// `GET_ROUTEINFO_BY_TOPIC`.
    GetRouteInfo(GetRouteInfoRequestHeader),
    /// `GET_BROKER_CLUSTER_INFO`.
    GetBrokerClusterInfo,
    /// `GET_BROKER_MEMBER_GROUP`.
    GetBrokerMemberGroup(GetBrokerMemberGroupRequestHeader),
    /// `WIPE_WRITE_PERM_OF_BROKER`.
    WipeWritePermOfBroker(WipeWritePermOfBrokerRequestHeader),
    /// `ADD_WRITE_PERM_OF_BROKER`.
    AddWritePermOfBroker(AddWritePermOfBrokerRequestHeader),
    /// `GET_ALL_TOPIC_LIST_FROM_NAMESERVER`.
    GetAllTopicList,
    /// `GET_TOPICS_BY_CLUSTER`.
    GetTopicsByCluster(GetTopicsByClusterRequestHeader),
    /// `GET_SYSTEM_TOPIC_LIST_FROM_NS`.
    GetSystemTopicList,
    /// `GET_UNIT_TOPIC_LIST`.
    GetUnitTopicList,
    /// `GET_HAS_UNIT_SUB_TOPIC_LIST`.
    GetHasUnitSubTopicList,
    /// `GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST`.
    GetHasUnitSubUnunitTopicList,
    /// `DELETE_TOPIC_IN_NAMESRV`.
    DeleteTopic(DeleteTopicFromNamesrvRequestHeader),
    /// `REGISTER_TOPIC_IN_NAMESRV`.
    RegisterTopic(RegisterTopicRequestHeader),
    /// `UPDATE_NAMESRV_CONFIG`.
    UpdateConfig,
    /// `GET_NAMESRV_CONFIG`.
    GetConfig,
}

/// The only place where a name server reads `code` and `extFields`.
///
/// # Errors
/// An unknown code, or the first field that is missing or wrong.
pub fn parse(command: &Command) -> Result<Request, WireError> {
    Ok(match command.code {
        code::PUT_KV_CONFIG => Request::PutKvConfig(command.header()?),
        code::GET_KV_CONFIG => Request::GetKvConfig(command.header()?),
        code::DELETE_KV_CONFIG => Request::DeleteKvConfig(command.header()?),
        code::GET_KVLIST_BY_NAMESPACE => Request::GetKvListByNamespace(command.header()?),
        code::REGISTER_BROKER => Request::RegisterBroker(Box::new(command.header()?)),
        code::UNREGISTER_BROKER => Request::UnregisterBroker(command.header()?),
        code::BROKER_HEARTBEAT => Request::BrokerHeartbeat(command.header()?),
        code::QUERY_DATA_VERSION => Request::QueryDataVersion(command.header()?),
        code::GET_ROUTEINFO_BY_TOPIC => Request::GetRouteInfo(command.header()?),
        code::GET_BROKER_CLUSTER_INFO => Request::GetBrokerClusterInfo,
        code::GET_BROKER_MEMBER_GROUP => Request::GetBrokerMemberGroup(command.header()?),
        code::WIPE_WRITE_PERM_OF_BROKER => Request::WipeWritePermOfBroker(command.header()?),
        code::ADD_WRITE_PERM_OF_BROKER => Request::AddWritePermOfBroker(command.header()?),
        code::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => Request::GetAllTopicList,
        code::GET_TOPICS_BY_CLUSTER => Request::GetTopicsByCluster(command.header()?),
        code::GET_SYSTEM_TOPIC_LIST_FROM_NS => Request::GetSystemTopicList,
        code::GET_UNIT_TOPIC_LIST => Request::GetUnitTopicList,
        code::GET_HAS_UNIT_SUB_TOPIC_LIST => Request::GetHasUnitSubTopicList,
        code::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => Request::GetHasUnitSubUnunitTopicList,
        code::DELETE_TOPIC_IN_NAMESRV => Request::DeleteTopic(command.header()?),
        code::REGISTER_TOPIC_IN_NAMESRV => Request::RegisterTopic(command.header()?),
        code::UPDATE_NAMESRV_CONFIG => Request::UpdateConfig,
        code::GET_NAMESRV_CONFIG => Request::GetConfig,
        code => return Err(WireError::UnsupportedCode { code }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_a_name_server_are_known_and_no_others() {
        let served: Vec<i32> = (-10..100_000)
            .chain(200_000..201_000)
            .filter(|code| {
                !matches!(
                    parse(&Command::request(*code)),
                    Err(WireError::UnsupportedCode { .. })
                )
            })
            .collect();
        let expected = [
            100, 101, 102, 103, 104, 105, 106, 205, 206, 216, 217, 219, 224, 304, 311, 312, 313,
            318, 319, 322, 327, 901, 904,
        ];
        assert_eq!(served, expected);
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = parse(&Command::request(code::GET_ROUTEINFO_BY_TOPIC)).unwrap_err();
        assert_eq!(error.to_string(), "the required field topic is missing");
    }
}
