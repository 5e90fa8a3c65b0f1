//! Whether a pull may be served at all, checked in the order of the reference.

use super::{Pull, PullHandler};
use crate::client::{PullView, Subscription};
use crate::filter::Filter;
use crate::handler::client::unsupported_filter;
use crate::topic::{Topic, perm};
use common::names;
use common::wire::body::{ConsumeType, MessageModel, SubscriptionGroupConfig};
use common::wire::header::{PULL_SUBSCRIPTION, PullMessageRequestHeader};
use common::wire::{Reply, response_code, with_faq};
use std::sync::Arc;

/// What the checks looked up.
pub(super) struct Admitted {
    pub(super) topic: Arc<Topic>,
    pub(super) group: Arc<SubscriptionGroupConfig>,
    pub(super) queue_id: u32,
    pub(super) wanted: Wanted,
    /// The group's live members share nothing: each gets every message, pushed.
    pub(super) broadcast: bool,
}

/// The filter of a pull.
pub(super) enum Wanted {
    /// It brought its own.
    Inline(Filter),
    /// The one its group registered.
    Registered(Arc<Subscription>),
}

impl Wanted {
    pub(super) fn filter(&self) -> &Filter {
        match self {
            Self::Inline(filter) => filter,
            Self::Registered(subscription) => &subscription.filter,
        }
    }

    pub(super) fn into_filter(self) -> Filter {
        match self {
            Self::Inline(filter) => filter,
            Self::Registered(subscription) => subscription.filter.clone(),
        }
    }
}

/// What a client may not read, as `forbiddenType` tells it.
#[derive(Clone, Copy)]
enum Forbidden {
    Broker = 1,
    Group = 2,
    Topic = 3,
    Broadcasting = 4,
    Subscription = 5,
}

impl PullHandler {
    /// The checks before the read.
    ///
    /// # Errors
    /// The refusal to answer.
    pub(super) fn admit(&self, pull: &Pull) -> Result<Admitted, Reply> {
        let (settings, header) = (self.state.settings.now(), &pull.header);
        if settings.broker_permission & 4 == 0 {
            let remark = format!(
                "the broker[{}] pulling message is forbidden",
                settings.broker_ip1
            );
            return Err(forbidden(Forbidden::Broker, remark));
        }
        if pull.lite && !settings.lite_pull_message_enable {
            let ip = &settings.broker_ip1;
            let remark = format!("the broker[{ip}] for lite pull consumer is forbidden");
            return Err(forbidden(Forbidden::Broker, remark));
        }
        let group = self.group(&header.consumer_group)?;
        let topic = self.topic(&header.topic)?;
        let queue_id = queue_id(pull, &topic)?;
        let view = self
            .state
            .clients
            .consumers
            .table()
            .pull_view(&header.consumer_group, &header.topic);
        let broadcast = view.as_ref().is_some_and(|view| {
            view.message_model == MessageModel::Broadcasting
                && view.consume_type == ConsumeType::ConsumePassively
        });
        let passive = view
            .as_ref()
            .is_some_and(|view| view.consume_type != ConsumeType::ConsumeActively);
        let wanted = if header.sys_flag & PULL_SUBSCRIPTION != 0 {
            inline(header)?
        } else {
            self.registered(header, &group, view)?
        };
        if let Filter::Unsupported(kind) = wanted.filter() {
            return Err(unsupported_filter(kind));
        }
        if settings.reject_pull_consumer_enable && !passive && self.is_stranger(pull) {
            let remark =
                "the consumer's group info not exist, or the pull consumer is rejected by server.";
            return Err(Reply::error(
                response_code::SUBSCRIPTION_NOT_EXIST,
                with_faq(remark),
            ));
        }
        Ok(Admitted {
            topic,
            group,
            queue_id,
            wanted,
            broadcast,
        })
    }

    fn group(&self, group: &str) -> Result<Arc<SubscriptionGroupConfig>, Reply> {
        let Some(config) = self.state.groups.find_or_create(group) else {
            let remark = with_faq(&format!("subscription group [{group}] does not exist, "));
            return Err(Reply::error(
                response_code::SUBSCRIPTION_GROUP_NOT_EXIST,
                remark,
            ));
        };
        if !config.consume_enable {
            let remark = format!("subscription group no permission, {group}");
            return Err(forbidden(Forbidden::Group, remark));
        }
        Ok(config)
    }

    fn topic(&self, topic: &str) -> Result<Arc<Topic>, Reply> {
        let Some(config) = self.state.topics.get(topic) else {
            let remark = with_faq(&format!("topic[{topic}] not exist, apply first please! "));
            return Err(Reply::error(response_code::TOPIC_NOT_EXIST, remark));
        };
        if config.perm & perm::READ == 0 {
            let remark = format!("the topic[{topic}] pulling message is forbidden");
            return Err(forbidden(Forbidden::Topic, remark));
        }
        Ok(config)
    }

    /// The subscription that the group's heartbeats registered.
    fn registered(
        &self,
        header: &PullMessageRequestHeader,
        config: &SubscriptionGroupConfig,
        view: Option<PullView>,
    ) -> Result<Wanted, Reply> {
        let (group, topic) = (&header.consumer_group, &header.topic);
        let missing = |what| Reply::error(response_code::SUBSCRIPTION_NOT_EXIST, with_faq(what));
        let view = view.ok_or_else(|| missing("the consumer's group info not exist"))?;
        if !config.consume_broadcast_enable && view.message_model == MessageModel::Broadcasting {
            let remark = format!("the consumer group[{group}] can not consume by broadcast way");
            return Err(forbidden(Forbidden::Broadcasting, remark));
        }
        if self.state.groups.is_read_forbidden(group, topic) {
            let remark = format!("the consumer group[{group}] is forbidden for topic[{topic}]");
            return Err(forbidden(Forbidden::Subscription, remark));
        }
        let subscription = view
            .subscription
            .ok_or_else(|| missing("the consumer's subscription not exist"))?;
        if subscription.data.sub_version < header.sub_version.unwrap_or(0) {
            let remark = "the consumer's subscription not latest";
            return Err(Reply::error(response_code::SUBSCRIPTION_NOT_LATEST, remark));
        }
        Ok(Wanted::Registered(subscription))
    }

    /// True for connections that are no member of the group they pull for; the broker's own groups have no members.
    fn is_stranger(&self, pull: &Pull) -> bool {
        let group = &pull.header.consumer_group;
        !names::is_system_group(group)
            && self
                .state
                .clients
                .consumers
                .table()
                .client_id(group, pull.connection.id())
                .is_none()
    }
}

/// The filter that came with the request.
fn inline(header: &PullMessageRequestHeader) -> Result<Wanted, Reply> {
    let filter = Filter::parse(
        header.expression_type.as_deref(),
        header.subscription.as_deref(),
    );
    filter.map(Wanted::Inline).map_err(|error| {
        tracing::warn!(group = header.consumer_group, topic = header.topic, %error, "pull with a bad filter");
        let remark = "parse the consumer's subscription failed";
        Reply::error(response_code::SUBSCRIPTION_PARSE_FAILED, remark)
    })
}

fn queue_id(pull: &Pull, topic: &Topic) -> Result<u32, Reply> {
    let asked = pull.header.queue_id;
    match u32::try_from(asked) {
        Ok(id) if asked < topic.read_queue_nums => Ok(id),
        _ => {
            let (name, queues) = (&pull.header.topic, topic.read_queue_nums);
            let peer = pull.connection.peer();
            let remark = format!(
                "queueId[{asked}] is illegal, topic:[{name}] topicConfig.readQueueNums:[{queues}] consumer:[/{peer}]"
            );
            Err(Reply::error(response_code::INVALID_PARAMETER, remark))
        }
    }
}

fn forbidden(what: Forbidden, remark: String) -> Reply {
    let mut reply = Reply::error(response_code::NO_PERMISSION, remark);
    reply.fields.set("forbiddenType", what as i32);
    reply
}
