use super::*;
use crate::handler::offset::query;
use crate::testing::Stored;
use common::wire::header::{OffsetResponseHeader, QueryConsumerOffsetRequestHeader};
use common::wire::{Fields, WireHeader};

fn request(fields: &[(&str, &str)]) -> CreateTopicRequestHeader {
    let all = [
        ("topic", "t"),
        ("readQueueNums", "2"),
        ("writeQueueNums", "2"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
    ];
    let fields: Fields = all.iter().chain(fields).copied().collect();
    CreateTopicRequestHeader::parse(&fields).unwrap()
}

fn deletion(topic: &str) -> DeleteTopicRequestHeader {
    DeleteTopicRequestHeader {
        topic: Some(topic.to_owned()),
    }
}

fn outcome(reply: Reply) -> (i32, String) {
    (reply.code, reply.remark.unwrap_or_default())
}

#[test]
fn a_topic_is_created_and_shown() {
    let stored = Stored::new();
    let reply = create(
        &stored,
        &request(&[("attributes", "+message.type=FIFO"), ("order", "true")]),
    );
    assert_eq!(outcome(reply), (0, UNSET_REMARK.to_owned()));
    let header = GetTopicConfigRequestHeader {
        topic: "t".to_owned(),
        lo: None,
    };
    let shown = TopicConfig::decode(&config(&stored, &header).body[0]).unwrap();
    assert!(shown.order && shown.attributes["message.type"] == "FIFO");
    let wrong = create(&stored, &request(&[("topicFilterType", "TRIPLE_TAG")]));
    assert_eq!(outcome(wrong).0, response_code::SYSTEM_ERROR);
    let wrong = create(&stored, &request(&[("perm", "99")]));
    assert_eq!(
        outcome(wrong),
        (
            response_code::INVALID_PARAMETER,
            "perm is 99, expected 0 to 15".to_owned()
        )
    );
}

#[test]
fn a_deleted_topic_takes_its_messages_its_offsets_and_its_pop_retry_topics_with_it() {
    let stored = Stored::new();
    for topic in ["t", "%RETRY%g_t", "%RETRY%g"] {
        stored.create(topic, 1);
    }
    stored.send("t", 0, b"x");
    stored.offsets.commit("g", "t", 0, 1);
    assert_eq!(outcome(delete(&stored, &deletion("t"))).0, 0);
    assert!(stored.topics.get("t").is_none() && stored.topics.get("%RETRY%g_t").is_none());
    assert!(stored.topics.contains("%RETRY%g"));
    assert_eq!(
        (
            stored.offsets.committed("g", "t", 0),
            stored.reader.max_offset("t", 0)
        ),
        (None, 0)
    );
    assert_eq!(stored.topics.stored().0, 1);
    assert_eq!(outcome(delete(&stored, &deletion("t"))).0, 0);
    let blank = (
        response_code::INVALID_PARAMETER,
        "The specified topic is blank.".to_owned(),
    );
    assert_eq!(outcome(delete(&stored, &deletion(" "))), blank);
    assert_eq!(
        outcome(delete(&stored, &DeleteTopicRequestHeader { topic: None })),
        blank
    );
}

#[test]
fn the_ranges_of_all_queues_are_shown() {
    let stored = Stored::new();
    stored.create("t", 2);
    stored.send("t", 1, b"x");
    let header = TopicRequestHeader {
        topic: "t".to_owned(),
    };
    let shown = TopicStatsTable::decode(&stats(&stored, &header).body[0]).unwrap();
    let range = |queue_id| shown.offset_table[&MessageQueue::new("t", "b", queue_id)];
    assert_eq!(range(0), TopicOffset::default());
    assert_eq!((range(1).min_offset, range(1).max_offset), (0, 1));
    assert!(range(1).last_update_timestamp > 0);
}

#[test]
fn a_new_group_starts_at_zero_of_a_queue_that_still_has_its_first_message() {
    let stored = Stored::new();
    stored.create("t", 2);
    stored.send("t", 0, b"x");
    let query = |queue_id, set_zero_if_not_found| {
        let reply = query(
            &stored,
            &QueryConsumerOffsetRequestHeader {
                consumer_group: "g".to_owned(),
                topic: "t".to_owned(),
                queue_id,
                set_zero_if_not_found,
            },
        );
        let offset = OffsetResponseHeader::parse(&reply.fields);
        (reply.code, offset.ok().map(|header| header.offset))
    };
    assert_eq!(query(0, None), (0, Some(0)));
    assert_eq!(
        query(0, Some(false)),
        (response_code::QUERY_NOT_FOUND, None)
    );
    assert_eq!(query(1, None), (response_code::QUERY_NOT_FOUND, None));
    assert_eq!(query(-1, None), (response_code::QUERY_NOT_FOUND, None));
    // What an unknown group has committed does not count.
    stored.offsets.commit("g", "t", 0, 7);
    assert_eq!(query(0, None), (0, Some(0)));
    stored.groups.find_or_create("g").unwrap();
    assert_eq!(query(0, None), (0, Some(7)));
}
