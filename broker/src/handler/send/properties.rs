//! One pass over the properties of a message that is being sent: what the broker must know of them, and the text it
//! stores.

use crate::topic::{MessageType, Topic};
use common::message::properties;

/// What the send path looks at. Values borrow from the request.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of its own"
)]
pub struct Sent<'a> {
    /// `TAGS`.
    pub tags: Option<&'a str>,
    /// `KEYS`.
    pub keys: Option<&'a str>,
    /// `UNIQ_KEY`.
    pub unique_key: Option<&'a str>,
    /// `WAIT`: the producer wants its answer only once the message is durable. True when absent.
    pub wait: bool,
    /// `DELAY`, as the client wrote it.
    pub delay: Option<&'a str>,
    /// The `TIMER_…` properties.
    pub timer: TimerProperties<'a>,
    /// `TRAN_MSG=true`: a half message.
    pub transactional: bool,
    /// `PGROUP`: the group that is asked how the transaction ended.
    pub producer_group: Option<&'a str>,
    /// `__SHARDINGKEY` is there.
    pub sharded: bool,
    /// `_SYS_MSG_PRIORITY_`.
    pub priority: Option<i32>,
    /// `INNER_NUM`: it says that it is a whole batch.
    pub inner: bool,
    /// `INNER_MULTI_DISPATCH`: light queues it goes into, too.
    pub dispatch: Option<&'a str>,
    /// `__LITE_TOPIC` is there.
    pub lite: bool,
    /// `CHECK_IMMUNITY_TIME_IN_SECONDS`.
    pub immunity: Option<&'a str>,
    /// Something is there that the broker writes when a message takes a detour.
    pub redirected: bool,
}

/// The properties about a time, as the client wrote them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TimerProperties<'a> {
    /// `TIMER_DELAY_SEC`.
    pub delay_sec: Option<&'a str>,
    /// `TIMER_DELAY_MS`.
    pub delay_ms: Option<&'a str>,
    /// `TIMER_DELIVER_MS`.
    pub deliver_ms: Option<&'a str>,
    /// `TIMER_OUT_MS`: a broker has delivered this message at its time already.
    pub out_ms: Option<&'a str>,
    /// `TIMER_DEL_UNIQKEY`: the message cancels another.
    pub delete_key: Option<&'a str>,
}

impl TimerProperties<'_> {
    /// Whether the message asks for a time.
    pub fn asks(&self) -> bool {
        self.are_there() && self.out_ms.is_none()
    }

    fn are_there(&self) -> bool {
        let asked = self.delay_sec.or(self.delay_ms).or(self.deliver_ms);
        asked.is_some()
    }
}

impl Sent<'_> {
    /// The delay level, 0 when there is none; `None` if it is no number.
    pub fn delay_level(&self) -> Option<i32> {
        self.delay.map_or(Some(0), |text| text.parse().ok())
    }

    /// What the message is. Of several kinds it is the first in this order, as with the reference.
    pub fn kind(&self) -> MessageType {
        match self {
            _ if self.transactional => MessageType::Transaction,
            _ if self.delay_level().is_none_or(|level| level > 0) => MessageType::Delay,
            _ if self.timer.asks() => MessageType::Delay,
            _ if self.sharded => MessageType::Fifo,
            _ if self.priority.is_some() => MessageType::Priority,
            _ if self.lite => MessageType::Lite,
            _ => MessageType::Normal,
        }
    }

    /// Whether the message may have to wait before it goes to its queue.
    pub fn is_special(&self) -> bool {
        self.transactional || self.delay_level() != Some(0) || self.timer.asks()
    }

    /// Whether it is the first half of a transaction: a retry that is to be delayed is none any more.
    pub fn is_half(&self, reconsume_times: i32) -> bool {
        let delayed = self.delay_level().is_some_and(|level| level > 0);
        self.transactional && !(reconsume_times > 0 && delayed)
    }

    /// Whether it is of a kind that has no priority: what asks for that counts, be it granted or not.
    pub fn forbids_priority(&self) -> bool {
        self.transactional || self.delay.is_some() || self.timer.are_there() || self.sharded
    }

    /// The queue a priority asks for, unless the message is of a kind that has no priority.
    pub fn queue_of_priority(&self, topic: &Topic) -> Option<u32> {
        let last = topic.write_queue_nums.checked_sub(1)?;
        self.priority
            .filter(|_| !self.forbids_priority())
            .and_then(|priority| u32::try_from(priority.min(last)).ok())
    }
}

/// Reads `text` leniently, as the reference does: pieces without a name or a value are dropped, of equal names the last
/// counts. What is to be stored is appended to `stored`: everything but what the broker itself sets.
pub fn read<'a>(text: &'a str, stored: &mut String) -> Sent<'a> {
    let mut sent = Sent {
        wait: true,
        ..Sent::default()
    };
    let (mut names, mut as_is, mut bytes) = (0u64, true, 0);
    for (name, value) in properties::iter(text) {
        let bit = name_bit(name);
        // A bit seen twice may be a name seen twice; the careful way finds out.
        as_is &= note(&mut sent, name, value) && names & bit == 0;
        names |= bit;
        bytes += name.len() + value.len() + 2;
    }
    as_is &= properties::is_well_formed(text, bytes);
    if as_is {
        stored.push_str(text);
    } else {
        store_carefully(text, stored);
    }
    sent
}

fn name_bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let (first, last) = (
        bytes.first().copied().unwrap_or(0),
        bytes.last().copied().unwrap_or(0),
    );
    let mixed =
        usize::from(first) ^ usize::from(last).wrapping_mul(5) ^ bytes.len().wrapping_mul(11);
    1 << (mixed & 63)
}

/// Notes what matters; false for a property that the broker sets itself and clients cannot.
fn note<'a>(sent: &mut Sent<'a>, name: &str, value: &'a str) -> bool {
    match name {
        properties::TAGS => sent.tags = Some(value),
        properties::KEYS => sent.keys = Some(value),
        properties::UNIQUE_KEY => sent.unique_key = Some(value),
        properties::WAIT => sent.wait = value.eq_ignore_ascii_case("true"),
        properties::DELAY => sent.delay = Some(value),
        properties::TIMER_DELAY_SEC => sent.timer.delay_sec = Some(value),
        properties::TIMER_DELAY_MS => sent.timer.delay_ms = Some(value),
        properties::TIMER_DELIVER_MS => sent.timer.deliver_ms = Some(value),
        properties::TIMER_OUT_MS => sent.timer.out_ms = Some(value),
        properties::TIMER_DEL_UNIQKEY => sent.timer.delete_key = Some(value),
        properties::PRODUCER_GROUP => sent.producer_group = Some(value),
        properties::TRANSACTION_PREPARED => sent.transactional = value.eq_ignore_ascii_case("true"),
        properties::SHARDING_KEY => sent.sharded = true,
        properties::LITE_TOPIC => sent.lite = true,
        properties::PRIORITY => {
            sent.priority = value.parse().ok().filter(|priority| *priority >= 0);
        }
        properties::CHECK_IMMUNITY_TIME => sent.immunity = Some(value),
        properties::REAL_TOPIC
        | properties::REAL_QUEUE_ID
        | properties::TRANSACTION_ID
        | properties::TRANSACTION_CHECK_TIMES
        | properties::TRANSACTION_PREPARED_QUEUE_OFFSET => sent.redirected = true,
        properties::INNER_NUM => sent.inner = true,
        properties::INNER_MULTI_DISPATCH => sent.dispatch = Some(value),
        _ => return !is_broker_owned(name),
    }
    true
}

fn is_broker_owned(name: &str) -> bool {
    matches!(
        name,
        properties::MSG_REGION
            | properties::TRACE_SWITCH
            | properties::CLUSTER
            | properties::POP_CK
            | properties::INNER_BASE
            | properties::INNER_MULTI_QUEUE_OFFSET
    )
}

fn store_carefully(text: &str, stored: &mut String) {
    let mut kept: Vec<(&str, &str)> = Vec::new();
    for (name, value) in properties::iter(text) {
        kept.retain(|(earlier, _)| *earlier != name);
        if !is_broker_owned(name) {
            kept.push((name, value));
        }
    }
    for (name, value) in kept {
        properties::write(stored, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let mut stored = String::new();
        read(text, &mut stored);
        assert_eq!(stored, want, "{text:?}");
    }

    #[test]
    fn well_formed_text_is_stored_as_it_came() {
        check("", "");
        check(
            "KEYS\u{1}k\u{2}中\u{1}文\u{2}",
            "KEYS\u{1}k\u{2}中\u{1}文\u{2}",
        );
    }

    #[test]
    fn pieces_without_name_or_value_are_dropped_and_the_last_of_equal_names_counts() {
        check("a\u{1}1\u{2}a\u{1}2\u{2}", "a\u{1}2\u{2}");
        check("a\u{1}\u{2}b\u{1}2\u{2}\u{1}c\u{2}", "b\u{1}2\u{2}");
        check("a\u{1}1", "a\u{1}1\u{2}");
        check(
            "a\u{1}1\u{1}2\u{2}b\u{1}x y\u{2}",
            "a\u{1}1\u{1}2\u{2}b\u{1}x y\u{2}",
        );
        check("no separator\u{2}b\u{1}2\u{2}", "b\u{1}2\u{2}");
    }

    #[test]
    fn what_the_broker_sets_itself_is_not_taken_from_clients() {
        check(
            "MSG_REGION\u{1}zz\u{2}u\u{1}v\u{2}TRACE_ON\u{1}false\u{2}INNER_BASE\u{1}7\u{2}CLUSTER\u{1}c\u{2}POP_CK\u{1}1\u{2}",
            "u\u{1}v\u{2}",
        );
    }

    /// Two names may look alike at a glance.
    #[test]
    fn every_property_counts_whatever_stands_before_it() {
        let due = "TIMER_DELIVER_MS\u{1}1\u{2}";
        let letters = || 'a'..='z';
        let before =
            letters().flat_map(|first| letters().map(move |last| format!("{first}{last}")));
        let alike = before.filter(|name| name_bit(name) == name_bit(properties::TIMER_DELIVER_MS));
        let mut count = 0;
        for name in alike {
            let text = format!("{name}\u{1}x\u{2}{due}");
            assert_eq!(
                read(&text, &mut String::new()).timer.deliver_ms,
                Some("1"),
                "{name}"
            );
            count += 1;
        }
        assert!(count > 0);
        let twice = read("TAGS\u{1}a\u{2}TAGS\u{1}b\u{2}", &mut String::new()).tags;
        assert_eq!(twice, Some("b"));
    }

    #[test]
    fn a_message_is_of_one_kind() {
        let kind = |text: &str| read(text, &mut String::new()).kind();
        let mut text = String::new();
        for (more, expected) in [
            ("KEYS\u{1}k\u{2}DELAY\u{1}0\u{2}", MessageType::Normal),
            ("__LITE_TOPIC\u{1}l\u{2}", MessageType::Lite),
            ("_SYS_MSG_PRIORITY_\u{1}1\u{2}", MessageType::Priority),
            ("__SHARDINGKEY\u{1}s\u{2}", MessageType::Fifo),
            ("TIMER_DELAY_SEC\u{1}1\u{2}", MessageType::Delay),
            ("TRAN_MSG\u{1}TRUE\u{2}", MessageType::Transaction),
        ] {
            text.push_str(more);
            assert_eq!(kind(&text), expected);
        }
        assert_eq!(kind("DELAY\u{1}1\u{2}"), MessageType::Delay);
    }

    #[test]
    fn what_asks_for_another_kind_has_no_priority() {
        let priority = "_SYS_MSG_PRIORITY_\u{1}1\u{2}";
        for (more, forbids) in [
            ("", false),
            ("TRAN_MSG\u{1}false\u{2}", false),
            ("TRAN_MSG\u{1}true\u{2}", true),
            ("DELAY\u{1}0\u{2}", true),
            ("TIMER_DELIVER_MS\u{1}1\u{2}TIMER_OUT_MS\u{1}1\u{2}", true),
            ("__SHARDINGKEY\u{1}s\u{2}", true),
        ] {
            let text = format!("{priority}{more}");
            let sent = read(&text, &mut String::new());
            assert_eq!(sent.forbids_priority(), forbids, "{more}");
        }
    }

    #[test]
    fn what_matters_is_noted() {
        let text = "TAGS\u{1}A\u{2}KEYS\u{1}k\u{2}UNIQ_KEY\u{1}U\u{2}WAIT\u{1}false\u{2}DELAY\u{1}3\u{2}TRAN_MSG\u{1}true\u{2}";
        let sent = read(text, &mut String::new());
        let want = Sent {
            tags: Some("A"),
            keys: Some("k"),
            unique_key: Some("U"),
            wait: false,
            delay: Some("3"),
            transactional: true,
            ..Sent::default()
        };
        assert_eq!(sent, want);
        assert!(read("", &mut String::new()).wait);
        assert!(
            read("TIMER_DELAY_MS\u{1}5\u{2}", &mut String::new())
                .timer
                .asks()
        );
        assert_eq!(
            read("DELAY\u{1}abc\u{2}", &mut String::new()).delay_level(),
            None
        );
        assert_eq!(
            read("_SYS_MSG_PRIORITY_\u{1}-1\u{2}", &mut String::new()).priority,
            None
        );
    }
}
