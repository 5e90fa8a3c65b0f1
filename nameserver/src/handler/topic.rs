//! Topics: routes and lists.

use std::time::Duration;

use common::wire::body::{TopicList, TopicRouteData};
use common::wire::codes::STANDARD_JSON_SINCE;
use common::wire::header::{
    DeleteTopicFromNamesrvRequestHeader, GetRouteInfoRequestHeader, TopicRequestHeader,
};
use common::wire::{Reply, response_code, with_faq};

use super::{Handler, system_error};
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::route::RouteTable;

impl Handler {
    /// Whether routes are given out: at once, or only after the time that brokers need to register.
    pub fn is_ready(&self) -> bool {
        let settings = self.settings.get();
        let wait = u64::try_from(settings.wait_seconds_for_service).unwrap_or(0);
        let wait_ms = Duration::from_secs(wait).as_millis();
        !settings.need_wait_for_service || i128::from(self.routes.now().0) >= wait_ms.cast_signed()
    }

    /// The route of a topic, cut down to a zone where one is given, with its order configuration.
    pub fn find_route(&self, topic: &str, zone: Option<&str>) -> Option<TopicRouteData> {
        let settings = self.settings.get();
        let mut route = self.routes.read().route(topic, &settings, zone)?;
        if settings.order_message_enable {
            route.order_topic_conf = self.kv.get(ORDER_TOPIC_CONFIG, topic);
        }
        Some(route)
    }

    /// `GET_ROUTEINFO_BY_TOPIC`
    pub fn route(&self, version: i32, header: &GetRouteInfoRequestHeader) -> Reply {
        if !self.is_ready() {
            return system_error("name server not ready");
        }
        let topic = &header.topic;
        let zone = header.zone_name.as_deref();
        let zone = zone.filter(|name| !name.is_empty() && header.zone_mode == Some(true));
        let Some(route) = self.find_route(topic, zone) else {
            let remark = format!("No topic route info in name server for the topic: {topic}");
            return Reply::error(response_code::TOPIC_NOT_EXIST, with_faq(&remark));
        };
        let standard =
            version >= STANDARD_JSON_SINCE || header.accept_standard_json_only == Some(true);
        Reply::ok().with_body(if standard {
            route.encode_standard()
        } else {
            route.encode()
        })
    }

    /// `GET_ALL_TOPIC_LIST_FROM_NAMESERVER`
    pub fn all_topics(&self) -> Reply {
        let enabled = self.settings.get().enable_all_topic_list;
        self.list(enabled, RouteTable::topics)
    }

    /// `GET_TOPICS_BY_CLUSTER`, and the lists of the topics of units: those that `topics` gives.
    pub fn some_topics(&self, topics: impl FnOnce(&RouteTable) -> Vec<&str>) -> Reply {
        self.list(self.settings.get().enable_topic_list, topics)
    }

    fn list(&self, enabled: bool, topics: impl FnOnce(&RouteTable) -> Vec<&str>) -> Reply {
        if !enabled {
            return system_error("disable");
        }
        let list = TopicList::of(topics(&self.routes.read()));
        Reply::ok().with_body(list.encode())
    }

    /// `GET_SYSTEM_TOPIC_LIST_FROM_NS`
    pub fn system_topics(&self) -> Reply {
        let table = self.routes.read();
        let mut list = TopicList::of(table.system_topics());
        list.broker_addr = table.any_broker_addr().map(str::to_owned);
        drop(table);
        Reply::ok().with_body(list.encode())
    }

    /// `DELETE_TOPIC_IN_NAMESRV`
    pub fn delete_topic(&self, header: &DeleteTopicFromNamesrvRequestHeader) -> Reply {
        let cluster = header.cluster_name.as_deref();
        let cluster = cluster.filter(|name| !name.is_empty());
        self.routes
            .change(|table| table.delete_topic(&header.topic, cluster));
        tracing::info!(topic = header.topic, cluster, "route deleted by request");
        Reply::ok()
    }

    /// `REGISTER_TOPIC_IN_NAMESRV`
    pub fn register_topic(&self, header: &TopicRequestHeader, body: &[u8]) -> Reply {
        if body.is_empty() {
            return Reply::ok();
        }
        let queues = match TopicRouteData::decode(body) {
            Ok(route) => route.queue_datas,
            Err(error) => return system_error(error),
        };
        let topic = header.topic.as_str();
        let take = |table: &mut RouteTable| table.register_topic(topic, queues);
        if !self.routes.change(take) {
            tracing::warn!(topic, "queues on unknown brokers not taken");
        }
        Reply::ok()
    }
}
