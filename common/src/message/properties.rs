//! The properties string: `name 0x01 value 0x02`, repeated.
//!
//! Reading follows the reference: a part without name or value is dropped, the last 0x02 may be
//! missing, and of several entries with one name the last one counts.

use crate::scan::first_of;

/// Between a name and its value.
pub const NAME_END: u8 = 1;
/// After a value.
pub const VALUE_END: u8 = 2;
/// Bytes a record's properties may have at most.
pub const MAX_PROPERTIES_BYTES: usize = 32_767;

/// Keys for the index, separated by one space.
pub const KEYS: &str = "KEYS";
/// The tag; its hash is the tags code.
pub const TAGS: &str = "TAGS";
/// `false`: the producer does not wait for the flush or the replica.
pub const WAIT: &str = "WAIT";
/// Delay level.
pub const DELAY: &str = "DELAY";
/// Original topic of a retried message.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
/// Original topic of a half, delayed or dead message.
pub const REAL_TOPIC: &str = "REAL_TOPIC";
/// Original queue id of a half, delayed or dead message.
pub const REAL_QUEUE_ID: &str = "REAL_QID";
/// `true`: first half of a transaction.
pub const TRANSACTION_PREPARED: &str = "TRAN_MSG";
/// Producer group.
pub const PRODUCER_GROUP: &str = "PGROUP";
/// Smallest offset of the queue, set by the consumer.
pub const MIN_OFFSET: &str = "MIN_OFFSET";
/// Largest offset of the queue, set by the consumer.
pub const MAX_OFFSET: &str = "MAX_OFFSET";
/// Id of the message a retry stands for.
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
/// How often the message was consumed, when sent again as an ordinary message.
pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
/// Most retries the producer or consumer wants for this message.
pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
/// The broker's region.
pub const MSG_REGION: &str = "MSG_REGION";
/// Whether clients trace this message.
pub const TRACE_SWITCH: &str = "TRACE_ON";
/// The id the producing client gave.
pub const UNIQUE_KEY: &str = "UNIQ_KEY";
/// Extended unique information of the client.
pub const EXTEND_UNIQ_INFO: &str = "EXTEND_UNIQ_INFO";
/// Namespace of the producer.
pub const INSTANCE_ID: &str = "INSTANCE_ID";
/// When consuming started, set by the consumer.
pub const CONSUME_START_TIME: &str = "CONSUME_START_TIME";
/// Number of messages in an inner batch.
pub const INNER_NUM: &str = "INNER_NUM";
/// First queue offset of an inner batch.
pub const INNER_BASE: &str = "INNER_BASE";
/// Light queues the message goes into, too, separated by commas.
pub const INNER_MULTI_DISPATCH: &str = "INNER_MULTI_DISPATCH";
/// Its offsets there, in the same order.
pub const INNER_MULTI_QUEUE_OFFSET: &str = "INNER_MULTI_QUEUE_OFFSET";
/// Name of the cluster, put by the broker.
pub const CLUSTER: &str = "CLUSTER";
/// Id that ties a reply to its request.
pub const CORRELATION_ID: &str = "CORRELATION_ID";
/// Client that waits for the reply.
pub const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
/// Milliseconds the requester waits.
pub const TTL: &str = "TTL";
/// `reply` marks the answer to a request.
pub const MESSAGE_TYPE: &str = "MSG_TYPE";
/// When the reply reached its client, set there.
pub const ARRIVE_TIME: &str = "ARRIVE_TIME";
/// When the reply was pushed to its client.
pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";
/// Handle of a popped message; never stored.
pub const POP_CK: &str = "POP_CK";
/// Key of ordered messages.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";
/// Light topic within the topic.
pub const LITE_TOPIC: &str = "__LITE_TOPIC";
/// Id of the transaction.
pub const TRANSACTION_ID: &str = "__transactionId__";
/// Seconds before which the broker does not ask how the message's transaction ended.
pub const CHECK_IMMUNITY_TIME: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
/// How often the broker has asked how the transaction ended.
pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
/// First half-queue offset of a half message that was appended again.
pub const TRANSACTION_PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";
/// Topic a dead message came from.
pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
/// Id of the message a dead message stands for.
pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
/// Delay in seconds.
pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
/// Delay in milliseconds.
pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
/// Delivery time in milliseconds since 1970.
pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
/// When a timer message is due, set by the broker.
pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
/// How often a timer message was appended to the timer topic again.
pub const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";
/// Unique key of the timer message this one cancels.
pub const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
/// When a timer message was filed, set on delivery.
pub const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
/// When a timer message was delivered.
pub const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
/// The producer's time of a message that the broker makes in its place.
pub const BORN_TIMESTAMP: &str = "BORN_TIMESTAMP";
/// Priority, a decimal number not below zero.
pub const PRIORITY: &str = "_SYS_MSG_PRIORITY_";
/// Checksum of the record, when the broker appends it.
pub const CRC32: &str = "__CRC32#";

/// All entries in order, those without name or value left out.
pub fn iter(properties: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = properties;
    let parts = std::iter::from_fn(move || {
        let name_end = first_of(rest.as_bytes(), [NAME_END, VALUE_END]);
        let value_end = name_end + first_of(&rest.as_bytes()[name_end..], [VALUE_END]);
        let (part, behind) = rest.split_at(value_end);
        let more = !rest.is_empty();
        rest = behind.get(1..).unwrap_or_default();
        more.then_some((part, name_end))
    });
    parts.filter_map(|(part, name_end)| {
        let (name, value) = (&part[..name_end], part.get(name_end + 1..)?);
        (!name.is_empty() && !value.is_empty()).then_some((name, value))
    })
}

/// Whether [`iter`] gives all of the text, `entries_bytes` being the lengths of its entries with their separators.
pub fn is_well_formed(properties: &str, entries_bytes: usize) -> bool {
    entries_bytes == properties.len() && (properties.is_empty() || properties.ends_with('\u{2}'))
}

/// Value of the last entry called `name`.
pub fn get<'a>(properties: &'a str, name: &str) -> Option<&'a str> {
    get_bytes(properties.as_bytes(), name.as_bytes())
        .and_then(|value| std::str::from_utf8(value).ok())
}

/// As [`get`], on bytes of which nobody knows yet that they are text.
pub fn get_bytes<'a>(properties: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    get_each_bytes(properties, [name])[0]
}

/// [`get`] for several names at once, for the price of one.
pub fn get_each<'a, const N: usize>(properties: &'a str, names: [&str; N]) -> [Option<&'a str>; N] {
    get_each_bytes(properties.as_bytes(), names.map(str::as_bytes))
        .map(|value| value.and_then(|value| std::str::from_utf8(value).ok()))
}

fn get_each_bytes<'a, const N: usize>(
    properties: &'a [u8],
    names: [&[u8]; N],
) -> [Option<&'a [u8]>; N] {
    let mut found = [None; N];
    let mut rest = properties;
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(first_of(rest, [VALUE_END]));
        for (name, found) in names.iter().zip(&mut found) {
            // A part is the name, 0x01 and at least one byte of value.
            if part.len() > name.len() + 1
                && part[name.len()] == NAME_END
                && part.starts_with(name)
                && !name.is_empty()
            {
                *found = Some(&part[name.len() + 1..]);
            }
        }
        rest = behind.get(1..).unwrap_or_default();
    }
    found
}

/// Appends one entry. An empty value is left out, for no reader would see it.
pub fn write(out: &mut String, name: &str, value: &str) {
    if name.is_empty() || value.is_empty() {
        return;
    }
    // What a client sent may lack its last 0x02: the new name would become part of that value.
    if !out.is_empty() && !out.ends_with('\u{2}') {
        out.push('\u{2}');
    }
    out.reserve(name.len() + value.len() + 2);
    out.push_str(name);
    out.push('\u{1}');
    out.push_str(value);
    out.push('\u{2}');
}

/// The properties without the entries of these names.
#[must_use]
pub fn without(properties: &str, names: &[&str]) -> String {
    let mut out = String::with_capacity(properties.len());
    for (name, value) in iter(properties) {
        if !names.contains(&name) {
            write(&mut out, name, value);
        }
    }
    out
}

/// The properties with exactly one entry `name`, at the end.
#[must_use]
pub fn with(properties: &str, name: &str, value: &str) -> String {
    let mut out = without(properties, &[name]);
    write(&mut out, name, value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(&str, &str)> {
        iter(text).collect()
    }

    #[test]
    fn entries_are_read_in_order() {
        assert_eq!(pairs("a\u{1}1\u{2}b\u{1}2\u{2}"), [("a", "1"), ("b", "2")]);
    }

    #[test]
    fn last_separator_may_be_missing() {
        assert_eq!(pairs("a\u{1}1\u{2}b\u{1}2"), [("a", "1"), ("b", "2")]);
        assert_eq!(get("a\u{1}1\u{2}b\u{1}2", "b"), Some("2"));
    }

    #[test]
    fn empty_names_and_values_are_dropped() {
        assert_eq!(
            pairs("\u{1}1\u{2}a\u{1}\u{2}ab\u{2}\u{2}c\u{1}3\u{2}"),
            [("c", "3")]
        );
        assert_eq!(get("a\u{1}\u{2}", "a"), None);
        assert_eq!(get("\u{1}1\u{2}", ""), None);
    }

    #[test]
    fn only_the_first_0x01_separates() {
        assert_eq!(pairs("a\u{1}x\u{1}y\u{2}"), [("a", "x\u{1}y")]);
        assert_eq!(get("a\u{1}x\u{1}y\u{2}", "a"), Some("x\u{1}y"));
    }

    #[test]
    fn last_of_several_counts() {
        assert_eq!(get("a\u{1}1\u{2}a\u{1}2\u{2}aa\u{1}3\u{2}", "a"), Some("2"));
    }

    #[test]
    fn write_separates_from_unfinished_input() {
        let mut text = "a\u{1}1".to_owned();
        write(&mut text, "b", "2");
        assert_eq!(text, "a\u{1}1\u{2}b\u{1}2\u{2}");
        write(&mut text, "c", "");
        assert_eq!(text, "a\u{1}1\u{2}b\u{1}2\u{2}");
    }

    #[test]
    fn with_replaces() {
        assert_eq!(
            with("a\u{1}1\u{2}b\u{1}2\u{2}", "a", "3"),
            "b\u{1}2\u{2}a\u{1}3\u{2}"
        );
        assert_eq!(
            without("a\u{1}1\u{2}b\u{1}2\u{2}", &["b", "x"]),
            "a\u{1}1\u{2}"
        );
    }

    proptest! {
        #[test]
        fn get_agrees_with_iter(text in "[ab\u{1}\u{2}]{0,40}", name in "[ab]{1,2}") {
            let expected = |name: &str| iter(&text).filter(|(n, _)| *n == name).last().map(|(_, v)| v);
            prop_assert_eq!(get(&text, &name), expected(&name));
            prop_assert_eq!(get_each(&text, ["a", &name]), [expected("a"), expected(&name)]);
        }

        #[test]
        fn what_is_written_is_read(
            pairs in proptest::collection::vec(("[a-z]{1,5}", "[^\u{1}\u{2}]{1,8}"), 0..6)
        ) {
            let mut text = String::new();
            for (name, value) in &pairs {
                write(&mut text, name, value);
            }
            let read: Vec<_> = iter(&text).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
