//! One pass over the properties of a message that is being sent: what the broker must know of them, and the text it
//! stores.

use crate::topic::Topic;
use common::message::properties::{self, NAME_END, VALUE_END};

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
    /// `DELAY`: a delay level.
    pub delay_level: i64,
    /// One of the `TIMER_…` properties that ask for a time.
    pub timed: bool,
    /// `TRAN_MSG=true`: a half message.
    pub transactional: bool,
    /// `__SHARDINGKEY` is there.
    pub sharded: bool,
    /// `_SYS_MSG_PRIORITY_`.
    pub priority: Option<i32>,
}

impl Sent<'_> {
    /// The queue a priority asks for, unless the message is of a kind that has no priority.
    pub fn queue_of_priority(&self, topic: &Topic) -> Option<u32> {
        let plain = !self.transactional && self.delay_level == 0 && !self.timed && !self.sharded;
        let last = topic.write_queue_nums.checked_sub(1)?;
        self.priority
            .filter(|_| plain)
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
    let mut names = 0u64;
    let mut as_is = text.is_empty() || text.as_bytes().last() == Some(&VALUE_END);
    let mut rest = text;
    while !rest.is_empty() {
        let end = find(rest, VALUE_END).unwrap_or(rest.len());
        let piece = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or("");
        let Some((name, value)) = split(piece) else {
            as_is = false;
            continue;
        };
        let bit = name_bit(name);
        // A bit seen twice may be a name seen twice; the careful way finds out.
        as_is &= names & bit == 0 && note(&mut sent, name, value);
        names |= bit;
    }
    if as_is {
        stored.push_str(text);
    } else {
        store_carefully(text, stored);
    }
    sent
}

fn find(text: &str, byte: u8) -> Option<usize> {
    text.as_bytes().iter().position(|b| *b == byte)
}

fn split(piece: &str) -> Option<(&str, &str)> {
    let at = find(piece, NAME_END)?;
    let (name, value) = (&piece[..at], &piece[at + 1..]);
    (!name.is_empty() && !value.is_empty()).then_some((name, value))
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
        properties::DELAY => sent.delay_level = value.parse().unwrap_or(0),
        properties::TIMER_DELAY_SEC | properties::TIMER_DELAY_MS | properties::TIMER_DELIVER_MS => {
            sent.timed = true;
        }
        properties::TRANSACTION_PREPARED => sent.transactional = value.eq_ignore_ascii_case("true"),
        properties::SHARDING_KEY => sent.sharded = true,
        properties::PRIORITY => {
            sent.priority = value.parse().ok().filter(|priority| *priority >= 0);
        }
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
    )
}

fn store_carefully(text: &str, stored: &mut String) {
    let mut kept: Vec<(&str, &str)> = Vec::new();
    for (name, value) in text.split(char::from(VALUE_END)).filter_map(split) {
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
            "MSG_REGION\u{1}zz\u{2}u\u{1}v\u{2}TRACE_ON\u{1}false\u{2}CLUSTER\u{1}c\u{2}POP_CK\u{1}1\u{2}",
            "u\u{1}v\u{2}",
        );
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
            delay_level: 3,
            transactional: true,
            ..Sent::default()
        };
        assert_eq!(sent, want);
        assert!(read("", &mut String::new()).wait);
        assert!(read("TIMER_DELAY_MS\u{1}5\u{2}", &mut String::new()).timed);
        assert_eq!(
            read("_SYS_MSG_PRIORITY_\u{1}-1\u{2}", &mut String::new()).priority,
            None
        );
    }
}
