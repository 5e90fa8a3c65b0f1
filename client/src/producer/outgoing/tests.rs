//! Requests as they go out.

use super::*;
use common::wire::header::SendForm;

fn request(outgoing: &Outgoing, queue: &MessageQueue) -> Command {
    let template = &Template::default();
    let group = "g";
    outgoing.request(&Sender { group, template }, queue)
}

fn ids() -> impl FnMut() -> String {
    let mut next = 0;
    move || {
        next += 1;
        format!("ID{next}")
    }
}

fn single(message: Message) -> Outgoing {
    Outgoing::message(message, || "ID".to_owned(), 77, Compress::default())
}

fn batch(messages: Vec<Message>) -> Result<Outgoing, ClientError> {
    Outgoing::batch(messages, ids(), 77, 1 << 20)
}

#[test]
fn a_request_carries_all_that_the_broker_needs() {
    let message = Message::new("T", "body").tag("A").flag(9);
    let outgoing = single(message);
    let queue = MessageQueue::new("T", "broker-a", 3);
    let command = request(&outgoing, &queue);
    assert_eq!(command.code, request_code::SEND_MESSAGE_V2);
    let header = SendMessageRequestHeader::parse(&command.fields, SendForm::Short).unwrap();
    let expected = SendMessageRequestHeader {
        producer_group: "g",
        topic: "T",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 3,
        sys_flag: 0,
        born_timestamp: 77,
        flag: 9,
        properties: "TAGS\u{1}A\u{2}UNIQ_KEY\u{1}ID\u{2}",
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
        broker_name: Some("broker-a"),
    };
    assert_eq!(header, expected);
    assert_eq!(
        (outgoing.body.as_ref(), outgoing.msg_id.as_str()),
        (b"body".as_slice(), "ID")
    );
}

#[test]
fn large_bodies_are_compressed_and_say_so() {
    let small = single(Message::new("T", vec![7; 4095]));
    assert_eq!((small.sys_flag, small.body.len()), (0, 4095));
    let large = single(Message::new("T", vec![7; 4096]));
    assert_eq!(large.sys_flag, 0x1 | 0x300);
    assert!(large.body.len() < 100, "{}", large.body.len());
    let body = common::message::decompress(&large.body, large.sys_flag, 4096).unwrap();
    assert_eq!(body, vec![7; 4096]);
}

#[test]
fn bodies_are_compressed_with_what_was_asked_for() {
    for (with, bits) in [
        (CompressionType::Lz4, 0x100),
        (CompressionType::Zstd, 0x200),
        (CompressionType::Zlib, 0x300),
    ] {
        let compress = Compress {
            from: 100,
            with,
            level: 1,
        };
        let message = Message::new("T", vec![7; 100]);
        let large = Outgoing::message(message, || "ID".to_owned(), 77, compress);
        assert_eq!(large.sys_flag, 0x1 | bits);
        let body = common::message::decompress(&large.body, large.sys_flag, 100).unwrap();
        assert_eq!(body, vec![7; 100], "{with:?}");
    }
}

#[test]
fn a_retry_copy_has_its_counts_in_the_header() {
    let mut message = Message::new("%RETRY%g", "x");
    message.set_system(RECONSUME_TIME, "3");
    message.set_system(MAX_RECONSUME_TIMES, "16");
    let outgoing = single(message);
    assert_eq!(
        (outgoing.reconsume_times, outgoing.max_reconsume_times),
        (3, Some(16))
    );
    assert_eq!(outgoing.properties, "UNIQ_KEY\u{1}ID\u{2}");
}

#[test]
fn a_batch_is_its_messages_one_behind_the_other() {
    let messages = vec![
        Message::new("T", "ab").flag(5),
        Message::new("T", "c").tag("x"),
    ];
    let outgoing = batch(messages).unwrap();
    let mut expected = Vec::new();
    for (flag, body, properties) in [
        (5_i32, "ab", "UNIQ_KEY\u{1}ID1\u{2}"),
        (0, "c", "TAGS\u{1}x\u{2}UNIQ_KEY\u{1}ID2\u{2}"),
    ] {
        let total = 22 + body.len() + properties.len();
        expected.extend(i32::try_from(total).unwrap().to_be_bytes());
        expected.extend([0; 8]);
        expected.extend(flag.to_be_bytes());
        expected.extend(i32::try_from(body.len()).unwrap().to_be_bytes());
        expected.extend(body.as_bytes());
        expected.extend(i16::try_from(properties.len()).unwrap().to_be_bytes());
        expected.extend(properties.as_bytes());
    }
    assert_eq!(outgoing.body, expected);
    assert_eq!(outgoing.msg_id, "ID1,ID2");
    assert_eq!(
        outgoing.properties,
        "UNIQ_KEY\u{1}ID3\u{2}WAIT\u{1}true\u{2}"
    );
    let command = request(&outgoing, &MessageQueue::new("T", "b", 0));
    assert_eq!(command.code, request_code::SEND_BATCH_MESSAGE);
    assert_eq!(command.fields.get("m"), Some("true"));
}

#[test]
fn batches_that_brokers_would_refuse_are_refused_here() {
    let check = |messages: Vec<Message>, part: &str| {
        let text = batch(messages).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    };
    let plain = || Message::new("T", "x");
    check(Vec::new(), "empty");
    check(vec![plain(), Message::new("U", "x")], "one topic");
    check(vec![plain(), plain().wait_store_ok(false)], "waiting");
    check(vec![plain(), plain().delay_level(1)], "delayed");
    check(vec![Message::new("%RETRY%g", "x")], "retry topic");
    check(
        vec![Message::new("T", vec![0; 1 << 20])],
        "bytes, 1048576 are allowed",
    );
}
