//! Messages that do not go to their queue at once: those of a delay level, those with a time, first halves of
//! transactions. Each is stored in a topic of the broker's own, with its real topic and queue among its properties.

use super::properties::Sent;
use super::route::Routes;
use super::{SendHandler, remember};
use crate::error::illegal_message;
use crate::topic::{MessageType, Topic};
use common::message::recall_handle::RecallHandle;
use common::message::{properties as names_of, sys_flag};
use common::names;
use common::wire::{Reply, response_code};
use std::ops::Range;
use std::sync::Arc;
use store::Queue;

/// Room that the count of checks and the offset of the first half take among the properties of a half message.
const CHECKED_BYTES: usize = 96;

/// Where a message is stored instead.
pub(super) struct Detour {
    pub(super) topic: Arc<Topic>,
    pub(super) queue: Arc<Queue>,
    pub(super) sys_flag: i32,
    /// What it counts as.
    pub(super) kind: MessageType,
    /// With this the producer can call it back.
    pub(super) recall_handle: Option<String>,
}

/// Where a message would go without a detour.
#[derive(Clone, Copy)]
pub(super) struct Destination<'a> {
    pub(super) topic: &'a str,
    pub(super) queue_id: u32,
    pub(super) sys_flag: i32,
    /// The client's unique key, or the one that the broker has given.
    pub(super) unique_key: &'a str,
}

impl Detour {
    /// Its recall handle, put down in the turn's text.
    pub(super) fn handle(&self, keys: &mut String) -> Option<Range<usize>> {
        self.recall_handle
            .as_deref()
            .map(|handle| remember(keys, handle))
    }
}

impl SendHandler {
    /// The detour of a message whose properties are complete in `text`; writes down there what the detour needs.
    pub(super) fn detour(
        &self,
        routes: &mut Routes,
        sent: &Sent<'_>,
        half: bool,
        to: Destination<'_>,
        text: &mut String,
    ) -> Result<Option<Detour>, Reply> {
        if !half && !sys_flag::is_queued(to.sys_flag) {
            return Ok(None);
        }
        let Some(level) = sent.delay_level() else {
            let text = "the delay level (DELAY) is no number; the message was not stored";
            return Err(Reply::error(response_code::SYSTEM_ERROR, text));
        };
        let timed = level <= 0 && sent.timer.asks() && to.topic != names::TIMER_TOPIC;
        if half {
            // What is committed is delayed then; a time that is refused is refused now.
            if timed {
                self.timer_detour(routes, sent, to, &mut text.clone())?;
            }
            self.half_detour(routes, sent, to, text).map(Some)
        } else if level > 0 {
            self.level_detour(routes, level, to, text)
        } else if timed {
            self.timer_detour(routes, sent, to, text)
        } else {
            Ok(None)
        }
    }

    /// A level above the highest counts as the highest; where there is no level at all, nothing waits.
    pub(super) fn level_detour(
        &self,
        routes: &mut Routes,
        level: i32,
        to: Destination<'_>,
        text: &mut String,
    ) -> Result<Option<Detour>, Reply> {
        let level = level.min(self.highest_level);
        let Ok(queue_id) = u32::try_from(level - 1) else {
            return Ok(None);
        };
        // A level counts more than a time.
        *text = names_of::without(
            text,
            &[
                names_of::DELAY,
                names_of::TIMER_DELAY_SEC,
                names_of::TIMER_DELAY_MS,
                names_of::TIMER_DELIVER_MS,
                names_of::REAL_TOPIC,
                names_of::REAL_QUEUE_ID,
            ],
        );
        names_of::write(text, names_of::DELAY, &level.to_string());
        self.redirect(routes, (names::SCHEDULE_TOPIC, queue_id), to, text)
            .map(Some)
    }

    /// A message with a time; one whose time has come takes no detour.
    fn timer_detour(
        &self,
        routes: &mut Routes,
        sent: &Sent<'_>,
        to: Destination<'_>,
        text: &mut String,
    ) -> Result<Option<Detour>, Reply> {
        let timer = &sent.timer;
        let asked = [timer.delay_sec, timer.delay_ms, timer.deliver_ms];
        let rules = self.timers.rules();
        let now = self.state.clock.now().0;
        let Some(slot) = rules.slot(asked, timer.delete_key.is_some(), now)? else {
            return Ok(None);
        };
        rules.admit(self.timers.in_slot(slot), rand::random())?;
        if sent.redirected {
            *text = names_of::without(text, &[names_of::REAL_TOPIC, names_of::REAL_QUEUE_ID]);
        }
        names_of::write(text, names_of::TIMER_OUT_MS, &slot.to_string());
        let mut detour = self.redirect(routes, (names::TIMER_TOPIC, 0), to, text)?;
        if !names::is_retry_topic(to.topic) {
            let broker_name = &self.settings().config.broker_name;
            let handle = RecallHandle::of_slot(slot, to.topic, broker_name, to.unique_key);
            detour.recall_handle = Some(handle.encode());
        }
        Ok(Some(detour))
    }

    /// The first half of a transaction.
    fn half_detour(
        &self,
        routes: &mut Routes,
        sent: &Sent<'_>,
        to: Destination<'_>,
        text: &mut String,
    ) -> Result<Detour, Reply> {
        if sent.redirected {
            *text = names_of::without(
                text,
                &[
                    names_of::TRANSACTION_ID,
                    names_of::TRANSACTION_CHECK_TIMES,
                    names_of::TRANSACTION_PREPARED_QUEUE_OFFSET,
                    names_of::REAL_TOPIC,
                    names_of::REAL_QUEUE_ID,
                ],
            );
        }
        let to = Destination {
            sys_flag: to.sys_flag & !sys_flag::TRANSACTION_TYPE,
            ..to
        };
        let detour = self.redirect(routes, (names::TRANS_HALF_TOPIC, 0), to, text)?;
        names_of::write(text, names_of::TRANSACTION_ID, to.unique_key);
        if text.len() + CHECKED_BYTES > names_of::MAX_PROPERTIES_BYTES {
            return Err(illegal_message(self.settings().max_message_size));
        }
        Ok(Detour {
            kind: MessageType::Transaction,
            ..detour
        })
    }

    /// Sends the message to a queue of the broker's own; its properties, which must not do so yet, say where it was to go.
    pub(super) fn redirect(
        &self,
        routes: &mut Routes,
        (topic, queue_id): (&str, u32),
        to: Destination<'_>,
        text: &mut String,
    ) -> Result<Detour, Reply> {
        let Some(route) = routes.known(&self.state.topics, topic) else {
            let text = format!("topic[{topic}] of the broker's own does not exist");
            return Err(Reply::error(response_code::SYSTEM_ERROR, text));
        };
        names_of::write(text, names_of::REAL_TOPIC, to.topic);
        let mut digits = itoa::Buffer::new();
        names_of::write(text, names_of::REAL_QUEUE_ID, digits.format(to.queue_id));
        Ok(Detour {
            topic: Arc::clone(&route.topic),
            queue: route.queue(&self.state.writer, queue_id),
            sys_flag: to.sys_flag,
            kind: MessageType::Delay,
            recall_handle: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::properties::read;
    use super::super::testing::handler;
    use super::*;
    use crate::config::BrokerConfig;
    use crate::testing::Stored;
    use common::message::properties::get;

    fn stored(levels: &str) -> Stored {
        Stored::with(BrokerConfig {
            message_delay_level: common::config::ConfigValue::from_text(levels).unwrap(),
            ..BrokerConfig::default()
        })
    }

    /// The queue in which a message for queue 3 of `t` waits, and its properties.
    fn detour(
        handler: &SendHandler,
        text: &str,
        flag: i32,
    ) -> Result<(Option<(String, u32)>, String), i32> {
        let mut stored = String::new();
        let sent = read(text, &mut stored);
        let to = Destination {
            topic: "t",
            queue_id: 3,
            sys_flag: flag,
            unique_key: "K",
        };
        let mut routes = Routes::default();
        let detour = handler.detour(&mut routes, &sent, sent.is_half(0), to, &mut stored);
        let detour = detour.map_err(|refusal| refusal.code)?;
        let place = detour.map(|d| (d.topic.topic_name.clone(), d.queue.id()));
        Ok((place, stored))
    }

    #[test]
    fn a_level_leads_to_its_queue_and_is_capped() {
        let stored = stored("1s 5s 1m");
        let handler = handler(&stored);
        for (level, queue, kept) in [("1", 0, "1"), ("3", 2, "3"), ("+3", 2, "3"), ("99", 2, "3")] {
            let text = format!("a\u{1}b\u{2}DELAY\u{1}{level}\u{2}TIMER_DELAY_SEC\u{1}5\u{2}");
            let (place, text) = detour(&handler, &text, 0).unwrap();
            assert_eq!(place, Some((names::SCHEDULE_TOPIC.to_owned(), queue)));
            let at = |name| get(&text, name);
            assert_eq!((at("DELAY"), at("a")), (Some(kept), Some("b")));
            assert_eq!((at("REAL_TOPIC"), at("REAL_QID")), (Some("t"), Some("3")));
            assert_eq!(at("TIMER_DELAY_SEC"), None);
        }
    }

    #[test]
    fn what_has_no_level_goes_to_its_queue_unchanged() {
        let stored_some = stored("1s 5s");
        let some = handler(&stored_some);
        for text in ["DELAY\u{1}0\u{2}", "DELAY\u{1}-1\u{2}", "a\u{1}b\u{2}"] {
            assert_eq!(detour(&some, text, 0), Ok((None, text.to_owned())));
        }
        // A record that no consumer sees is not delivered later either.
        let level = "DELAY\u{1}1\u{2}";
        let prepared = detour(&some, level, sys_flag::TRANSACTION_PREPARED);
        assert_eq!(prepared, Ok((None, level.to_owned())));
        let stored_none = stored("");
        let none = handler(&stored_none);
        assert_eq!(detour(&none, level, 0), Ok((None, level.to_owned())));
    }

    #[test]
    fn a_level_that_is_no_number_is_refused() {
        let stored = stored("1s");
        let handler = handler(&stored);
        for level in ["abc", "1.5", "99999999999", " 1"] {
            let text = format!("DELAY\u{1}{level}\u{2}");
            assert_eq!(detour(&handler, &text, 0), Err(response_code::SYSTEM_ERROR));
        }
    }
}
