//! Requests a name server serves.

use super::requests;

requests! {
    /// A request to a name server. Bodies are read by the handlers.
    pub enum Request {
        PUT_KV_CONFIG = 100 => PutKvConfig(PutKvConfigRequestHeader),
        GET_KV_CONFIG = 101 => GetKvConfig(GetKvConfigRequestHeader),
        DELETE_KV_CONFIG = 102 => DeleteKvConfig(DeleteKvConfigRequestHeader),
        GET_KVLIST_BY_NAMESPACE = 219 => GetKvListByNamespace(GetKvListByNamespaceRequestHeader),
        REGISTER_BROKER = 103 => RegisterBroker(Box<RegisterBrokerRequestHeader>),
        UNREGISTER_BROKER = 104 => UnregisterBroker(BrokerRequestHeader),
        BROKER_HEARTBEAT = 904 => BrokerHeartbeat(BrokerHeartbeatRequestHeader),
        QUERY_DATA_VERSION = 322 => QueryDataVersion(BrokerRequestHeader),
        GET_ROUTEINFO_BY_TOPIC = 105 => GetRouteInfo(GetRouteInfoRequestHeader),
        GET_BROKER_CLUSTER_INFO = 106 => GetBrokerClusterInfo,
        GET_BROKER_MEMBER_GROUP = 901 => GetBrokerMemberGroup(GetBrokerMemberGroupRequestHeader),
        WIPE_WRITE_PERM_OF_BROKER = 205 => WipeWritePermOfBroker(BrokerNameRequestHeader),
        ADD_WRITE_PERM_OF_BROKER = 327 => AddWritePermOfBroker(BrokerNameRequestHeader),
        GET_ALL_TOPIC_LIST_FROM_NAMESERVER = 206 => GetAllTopicList,
        GET_TOPICS_BY_CLUSTER = 224 => GetTopicsByCluster(GetTopicsByClusterRequestHeader),
        GET_SYSTEM_TOPIC_LIST_FROM_NS = 304 => GetSystemTopicList,
        GET_UNIT_TOPIC_LIST = 311 => GetUnitTopicList,
        GET_HAS_UNIT_SUB_TOPIC_LIST = 312 => GetHasUnitSubTopicList,
        GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST = 313 => GetHasUnitSubUnunitTopicList,
        DELETE_TOPIC_IN_NAMESRV = 216 => DeleteTopic(DeleteTopicFromNamesrvRequestHeader),
        REGISTER_TOPIC_IN_NAMESRV = 217 => RegisterTopic(TopicRequestHeader),
        UPDATE_NAMESRV_CONFIG = 318 => UpdateConfig,
        GET_NAMESRV_CONFIG = 319 => GetConfig,
    }
}

#[cfg(test)]
mod tests {
    use super::super::WireError;
    use super::*;
    use crate::wire::command::Command;
    use crate::wire::request_code as code;

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
