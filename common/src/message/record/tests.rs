use proptest::prelude::*;

use super::*;

fn parts<'a>(topic: &'a str, body: &'a [u8], properties: &'a str) -> RecordParts<'a> {
    RecordParts {
        topic,
        queue_id: 6,
        flag: 0x0102_0304,
        sys_flag: 0,
        born_timestamp: 0x1112_1314_1516_1718,
        born_host: "10.20.30.40:258".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 5,
        prepared_transaction_offset: 9,
        body,
        properties,
    }
}

/// Written by hand from the table of the format.
const GOLDEN: [u8; 102] = [
    0, 0, 0, 102, // totalSize
    0xDA, 0xA3, 0x20, 0xA7, // magic V1
    0x35, 0x24, 0x41, 0xC2, // CRC-32 of "abc", 0x352441C2
    0, 0, 0, 6, // queueId
    1, 2, 3, 4, // flag
    0, 0, 0, 0, 0, 0, 0, 0, // queueOffset
    0, 0, 0, 0, 0, 0, 0, 0, // physicalOffset
    0, 0, 0, 0, // sysFlag
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, // bornTimestamp
    10, 20, 30, 40, 0, 0, 1, 2, // bornHost
    0, 0, 0, 0, 0, 0, 0, 0, // storeTimestamp
    127, 0, 0, 1, 0, 0, 0x2A, 0x9F, // storeHost
    0, 0, 0, 5, // reconsumeTimes
    0, 0, 0, 0, 0, 0, 0, 9, // preparedTransactionOffset
    0, 0, 0, 3, b'a', b'b', b'c', // body
    2, b'T', b'1', // topic
    0, 6, b'k', 1, b'v', b'v', b'v', 2, // properties
];

#[test]
fn record_has_the_documented_bytes() {
    let mut out = Vec::new();
    let encoded = encode(&parts("T1", b"abc", "k\u{1}vvv\u{2}"), &mut out).unwrap();
    assert_eq!(out, GOLDEN);
    assert_eq!(
        encoded,
        Encoded {
            bytes: 102,
            store_timestamp_at: 56,
            sys_flag: 0
        }
    );
}

#[test]
fn golden_record_is_read() {
    let view = RecordView::parse(&GOLDEN).unwrap();
    assert_eq!(
        (view.total_size, view.queue_id, view.flag),
        (102, 6, 0x0102_0304)
    );
    assert_eq!(view.born_host, "10.20.30.40:258".parse().unwrap());
    assert_eq!(view.store_host, "127.0.0.1:10911".parse().unwrap());
    assert_eq!(
        (view.reconsume_times, view.prepared_transaction_offset),
        (5, 9)
    );
    assert_eq!((view.body, view.topic), (&b"abc"[..], &b"T1"[..]));
    assert_eq!(view.property("k"), Some("vvv"));
    assert!(view.body_is_intact());
}

#[test]
fn every_proper_prefix_is_refused() {
    for len in 0..GOLDEN.len() {
        let error = RecordView::parse(&GOLDEN[..len]).unwrap_err();
        assert!(
            matches!(error, RecordFormatError::Truncated { .. }),
            "{len}: {error}"
        );
    }
}

#[test]
fn other_magics_are_refused() {
    let mut bytes = GOLDEN;
    bytes[4..8].copy_from_slice(&BLANK_MAGIC.to_be_bytes());
    assert_eq!(
        RecordView::parse(&bytes),
        Err(RecordFormatError::Magic { magic: BLANK_MAGIC })
    );
    assert!(matches!(
        RecordView::parse(&[0; 200]),
        Err(RecordFormatError::Magic { magic: 0 })
    ));
}

#[test]
fn lengths_that_do_not_add_up_are_refused() {
    // Body length, topic length, properties length; each one too long, too short, negative.
    for (at, value) in [
        (87, 4),
        (87, 2),
        (84, 0xFF),
        (91, 1),
        (91, 3),
        (91, 0xFF),
        (95, 5),
        (95, 7),
        (94, 0xFF),
    ] {
        let mut bytes = GOLDEN;
        bytes[at] = value;
        let error = RecordView::parse(&bytes).unwrap_err();
        assert!(
            matches!(error, RecordFormatError::Length { .. }),
            "{at}={value}: {error}"
        );
    }
}

#[test]
fn topic_of_128_bytes_makes_a_v2_record() {
    let check = |len: usize, magic: u32| {
        let topic = "t".repeat(len);
        let mut out = Vec::new();
        encode(&parts(&topic, b"", ""), &mut out).unwrap();
        assert_eq!(out[4..8], magic.to_be_bytes());
        let view = RecordView::parse(&out).unwrap();
        assert_eq!(
            (view.topic, view.is_v2),
            (topic.as_bytes(), magic == MAGIC_V2)
        );
    };
    check(127, MAGIC_V1);
    check(128, MAGIC_V2);
    check(255, MAGIC_V2);
}

#[test]
fn address_bits_follow_the_addresses() {
    let mut wrong = parts("T", b"x", "");
    wrong.sys_flag = sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6 | sys_flag::COMPRESSED;
    let mut out = Vec::new();
    encode(&wrong, &mut out).unwrap();
    let view = RecordView::parse(&out).unwrap();
    assert_eq!(
        (view.sys_flag, view.born_host),
        (sys_flag::COMPRESSED, wrong.born_host)
    );

    let mut v6 = parts("T", b"x", "");
    v6.born_host = "[2001:db8::7]:99".parse().unwrap();
    let mut out = Vec::new();
    let encoded = encode(&v6, &mut out).unwrap();
    assert_eq!(encoded.store_timestamp_at, 68);
    let view = RecordView::parse(&out).unwrap();
    assert_eq!(
        (view.sys_flag, view.born_host),
        (sys_flag::BORN_HOST_V6, v6.born_host)
    );
    assert_eq!(view.store_host, v6.store_host);
}

#[test]
fn what_does_not_fit_is_an_error_with_its_size() {
    let long = "p".repeat(32_768);
    let mut out = vec![1];
    assert_eq!(
        encode(&parts("T", b"", &long), &mut out),
        Err(RecordError::PropertiesTooLong { bytes: 32_768 })
    );
    assert_eq!(
        encode(&parts("", b"", ""), &mut out),
        Err(RecordError::TopicLength { bytes: 0 })
    );
    assert_eq!(
        encode(&parts(&long, b"", ""), &mut out),
        Err(RecordError::TopicLength { bytes: 32_768 })
    );
    assert_eq!(out, [1]);
}

#[test]
fn properties_that_look_like_lost_sectors_are_refused() {
    let check = |properties: &str, refused| {
        let encoded = encode(&parts("T", b"", properties), &mut Vec::new());
        assert_eq!(encoded.err() == Some(RecordError::BlankProperties), refused);
    };
    check("k\u{1}v\0", true);
    check("k\u{1}\0v\u{2}", false);
    check(&format!("k\u{1}{}v\u{2}", "\0".repeat(511)), false);
    check(&format!("k\u{1}{}v\u{2}", "\0".repeat(512)), true);
}

#[test]
fn smallest_record_has_91_bytes_and_a_topic() {
    let mut out = Vec::new();
    encode(&parts("T", b"", ""), &mut out).unwrap();
    assert_eq!(out.len(), MIN_RECORD_BYTES + 1);
    assert_eq!(RecordView::parse(&out).unwrap().body_crc, 0);
}

#[test]
fn iteration_stops_at_damage() {
    let mut bytes = GOLDEN.to_vec();
    bytes.extend_from_slice(&GOLDEN);
    assert_eq!(iter(&bytes).flatten().count(), 2);
    bytes.truncate(150);
    let kinds: Vec<_> = iter(&bytes).map(|record| record.is_ok()).collect();
    assert_eq!(kinds, [true, false]);
}

fn host() -> impl Strategy<Value = SocketAddr> {
    (any::<bool>(), any::<[u8; 16]>(), any::<u16>()).prop_map(|(v6, bytes, port)| {
        let ip: IpAddr = if v6 {
            bytes.into()
        } else {
            [bytes[0], bytes[1], bytes[2], bytes[3]].into()
        };
        SocketAddr::new(ip, port)
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_parsed(
        topic_len in prop_oneof![1_usize..10, 120_usize..140],
        body in proptest::collection::vec(any::<u8>(), 0..300),
        properties in "[a\u{1}\u{2}b]{0,40}",
        (born_host, store_host) in (host(), host()),
        numbers in any::<(i32, i32, i64, i32, i64, u16)>(),
    ) {
        let topic = "x".repeat(topic_len);
                let (flag, sys, born_timestamp, reconsume_times, prepared, queue_id) = numbers;
        let parts = RecordParts {
            topic: &topic, queue_id: u32::from(queue_id), flag, sys_flag: sys,
            born_timestamp, born_host, store_host, reconsume_times,
            prepared_transaction_offset: prepared, body: &body, properties: &properties,
        };
        let mut out = vec![0xEE; 3];
        let encoded = encode(&parts, &mut out).unwrap();
        let bytes = &out[3..];
        prop_assert_eq!(bytes.len(), encoded_len(&parts));
        let view = RecordView::parse(bytes).unwrap();
        prop_assert!(view.body_is_intact());
        prop_assert_eq!(view.total_size, encoded.bytes);
        prop_assert_eq!((view.body, view.topic), (&body[..], topic.as_bytes()));
        prop_assert_eq!(view.properties_text(), properties);
        prop_assert_eq!((view.born_host, view.store_host), (born_host, store_host));
        prop_assert_eq!((view.flag, view.sys_flag), (flag, encoded.sys_flag));
        prop_assert_eq!(view.born_timestamp, born_timestamp);
        prop_assert_eq!(view.reconsume_times, reconsume_times);
        prop_assert_eq!(view.prepared_transaction_offset, prepared);
        prop_assert_eq!(view.queue_id, i32::from(queue_id));
        for len in 0..bytes.len() {
            prop_assert!(RecordView::parse(&bytes[..len]).is_err());
        }
    }

    /// Whichever sectors a crash loses, the rest is not taken for the record, unless nothing but
    /// zeros was lost.
    #[test]
    fn lost_sectors_are_noticed(
        at in 0_usize..2048,
        topic_len in 1_usize..200,
        body in proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..1200),
        properties in "([a-z\\x00]{1,40}\u{1}[a-z\\x00]{1,300}\u{2}){0,6}",
        lost in any::<u16>(),
    ) {
        let mut whole = Vec::new();
        encode(&parts(&"t".repeat(topic_len), &body, &properties), &mut whole).unwrap();
        let mut left = whole.clone();
        for (n, byte) in left.iter_mut().enumerate() {
            let sector = (at + n) / BLANK_SECTOR_BYTES - at / BLANK_SECTOR_BYTES;
            if lost >> sector & 1 == 1 {
                *byte = 0;
            }
        }
        let taken = RecordView::parse(&left)
            .is_ok_and(|view| !view.is_torn(&left, at) && view.body_is_intact());
        prop_assert_eq!(taken, left == whole);
    }

    #[test]
    fn any_bytes_are_answered(mut bytes in proptest::collection::vec(any::<u8>(), 91..400)) {
        bytes[..8].copy_from_slice(&[0, 0, 1, 0, 0xDA, 0xA3, 0x20, 0xA7]);
        if let Ok(view) = RecordView::parse(&bytes) {
            prop_assert_eq!(view.total_size, 256);
        }
    }
}
