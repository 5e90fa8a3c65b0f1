use super::*;
use crate::wire::split_frame;
use proptest::prelude::*;

fn decoded(serialize: SerializeType, header: &[u8]) -> Result<Command, HeaderError> {
    let mut command = Command::default();
    command.decode(serialize, header).map(|()| command)
}

fn json(text: &str) -> Result<Command, HeaderError> {
    decoded(SerializeType::Json, text.as_bytes())
}

fn sample(serialize: SerializeType) -> Command {
    let fields = [
        ("queueId", "3"),
        ("i", "KEYS\u{1}k ü\u{2}"),
        ("empty", "x"),
        ("q\"\\/", "\n\r\t\u{0}\u{7f}中😀"),
    ];
    Command {
        code: 310,
        language: LanguageCode::GO,
        version: 317,
        opaque: -5,
        flag: 2,
        serialize,
        remark: Some("no \"luck\"".into()),
        fields: fields.into_iter().collect(),
    }
}

#[test]
fn both_serializations_round_trip_and_every_proper_prefix_is_incomplete() {
    for serialize in [SerializeType::Json, SerializeType::RocketMq] {
        let command = sample(serialize);
        let mut out = BytesMut::new();
        command.encode_frame(b"body", &mut out);
        for end in 0..out.len() {
            assert_eq!(split_frame(&out[..end]), Ok(None));
        }
        let frame = split_frame(&out).unwrap().unwrap();
        assert_eq!(frame.body, b"body");
        assert_eq!(frame.total, out.len());
        assert_eq!(decoded(frame.serialize, frame.header).unwrap(), command);
    }
}

#[test]
fn golden_json_frame_of_a_reply() {
    let mut command = Command {
        code: 0,
        flag: 1,
        opaque: 7,
        ..Command::default()
    };
    command.fields.push("offset", "12");
    let mut out = BytesMut::new();
    command.encode_frame(b"", &mut out);
    let header = br#"{"code":0,"extFields":{"offset":"12"},"flag":1,"language":"RUST","opaque":7,"serializeTypeCurrentRPC":"JSON","version":513}"#;
    assert_eq!(&out[..8], [0, 0, 0, 127, 0, 0, 0, 123]);
    assert_eq!(&out[8..], header);
}

#[test]
fn golden_binary_header() {
    let command = Command {
        code: 30,
        language: LanguageCode::JAVA,
        version: 453,
        opaque: 7,
        serialize: SerializeType::RocketMq,
        fields: [("topic", "T")].into_iter().collect(),
        ..Command::default()
    };
    let mut out = BytesMut::new();
    command.encode_frame(b"", &mut out);
    let hex = out[8..]
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(
        hex,
        concat!(
            "001e",
            "00",
            "01c5",
            "00000007",
            "00000000",
            "00000000",
            "0000000c",
            "0005746f706963",
            "0000000154"
        )
    );
    assert_eq!(out[4], 1);
}

#[test]
fn what_go_and_java_send_is_read() {
    let go = json(r#"{"code":10,"language":"GO","version":317,"opaque":1,"flag":0,"remark":"","extFields":{}}"#).unwrap();
    assert_eq!(
        (go.code, go.language, go.remark.as_deref()),
        (10, LanguageCode::GO, Some(""))
    );
    let java = json(concat!(
        r#"{"code":310,"extFields":{"a":"p","i":"KEYS\u0001k\u0002","n":null,"e":3,"k":false},"flag":0,"language":"JAVA","#,
        r#""opaque":12,"serializeTypeCurrentRPC":"JSON","version":513}"#
    ))
    .unwrap();
    assert_eq!(
        java.fields.iter().collect::<Vec<_>>(),
        [
            ("a", "p"),
            ("i", "KEYS\u{1}k\u{2}"),
            ("e", "3"),
            ("k", "false")
        ]
    );
}

#[test]
fn odd_but_valid_headers_are_accepted() {
    assert_eq!(json("{}").unwrap().code, 0);
    assert_eq!(
        json(" { \"code\" : \"105\" , \"opaque\": null } \n")
            .unwrap()
            .code,
        105
    );
    let odd = r#"{"later":{"a":[1,null,{"b":"}"}]},"x":null,"extFields":null,"language":"KLINGON","flag":124}"#;
    assert_eq!(json(odd).unwrap().flag, 124);
    assert_eq!(
        json(r#"{"extFields":{"a":"\uD83D\uDE00 \ud83d"}}"#)
            .unwrap()
            .fields
            .get("a"),
        Some("😀 \u{fffd}")
    );
}

#[test]
fn what_is_no_object_is_refused() {
    let bad = [
        "",
        "null",
        "5",
        "[]",
        "hello",
        "{\"code\":105,",
        "{\"code\":\"abc\"}",
        "{\"opaque\":2147483648}",
        "{} x",
        "{\"a\":}",
        "{\"a\" 1}",
        "{,}",
        "{\"a\":1,}",
        "{\"code\":1.5}",
        "{\"a\":{]}}",
        "{\"extFields\":[]}",
        "{\"extFields\":{\"a\":tru}}",
        "{\"a\":\"\\",
        "{\"remark\":\"\\u12\"}",
    ];
    for text in bad {
        assert!(json(text).is_err(), "{text}");
    }
}

#[test]
fn binary_lengths_beyond_the_header_are_refused() {
    let command = sample(SerializeType::RocketMq);
    let mut out = BytesMut::new();
    command.encode_frame(b"", &mut out);
    let header = &out[8..];
    for end in 0..header.len() {
        assert!(
            decoded(SerializeType::RocketMq, &header[..end]).is_err(),
            "prefix of {end}"
        );
    }
}

#[test]
fn codes_beyond_16_bits_do_not_fit_the_binary_form() {
    let mut out = BytesMut::new();
    Command {
        code: 200_050,
        serialize: SerializeType::RocketMq,
        ..Command::default()
    }
    .encode_frame(b"", &mut out);
    assert_eq!(
        decoded(SerializeType::RocketMq, &out[8..]).unwrap().code,
        3442
    );
}

proptest! {
    #[test]
    fn any_fields_round_trip(pairs in proptest::collection::vec(("\\PC{1,9}|[\u{0}-\u{7f}]{1,5}", "\\PC{1,20}|[\u{0}-\u{7f}]{1,9}"), 0..6),
                             opaque in any::<i32>(), json in any::<bool>()) {
        let serialize = if json { SerializeType::Json } else { SerializeType::RocketMq };
        let fields = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let command = Command { opaque, serialize, fields, ..Command::default() };
        let mut out = BytesMut::new();
        command.encode_frame(b"", &mut out);
        prop_assert_eq!(decoded(serialize, &out[8..]).unwrap(), command);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in any::<bool>()) {
        let _ = decoded(if json { SerializeType::Json } else { SerializeType::RocketMq }, &bytes);
        let _ = split_frame(&bytes);
    }

    #[test]
    fn random_json_like_text_never_panics(text in "[\\[\\]{}:,\"\\\\ntrue0-9a]{0,60}") {
        let _ = decoded(SerializeType::Json, text.as_bytes());
    }
}
