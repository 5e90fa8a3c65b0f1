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

/// The frame of `command` with this body.
fn frame(command: &Command, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    command.encode_head(body.len(), &mut out);
    out.extend_from_slice(body);
    out
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
        let out = frame(&command, b"body");
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
    let out = frame(&command, b"");
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
    let out = frame(&command, b"");
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
fn refusals_name_the_place_and_what_was_due() {
    for (text, at, due) in [
        ("[]", 0, "an object"),
        ("{\"code\" 1}", 8, "a colon"),
        ("{\"code\":1,}", 10, "a member name"),
        ("{\"code\":1 2}", 10, "a member or the end of the object"),
        ("{\"code\":12", 10, "a member or the end of the object"),
        ("{\"code\": \"x\"}", 10, "an integer of 32 bits"),
        ("{\"flag\":2147483648}", 8, "an integer of 32 bits"),
        ("{\"flag\":99999999999}", 8, "an integer of 32 bits"),
        ("{\"flag\":-}", 8, "a value"),
        ("{} {", 3, "nothing after the object"),
        ("{\"extFields\":7}", 13, "an object"),
        ("{\"extFields\":{\"a\":\"b\",\"c\":x}}", 26, "a value"),
        ("{\"extFields\":{\"a\":\"b\",\"c\" \"d\"}}", 26, "a colon"),
        ("{\"extFields\":{\"a\":\"b\",}}", 22, "a member name"),
        ("{\"extFields\":{\"a\":\"b", 18, "the end of a string"),
        ("{\"extFields\":{\"a\":\"b\\", 20, "an escape"),
        ("{\"remark\":\"a\\u12\"}", 12, "four hexadecimal digits"),
        ("{\"later\":[1,{]", 13, "a value"),
    ] {
        let expected = HeaderError::Json { at, expected: due };
        assert_eq!(json(text), Err(expected), "{text}");
    }
    let deep = format!("{{\"later\":{}", "[".repeat(65));
    let refusal = json(&deep).unwrap_err().to_string();
    assert_eq!(refusal, "JSON header, byte 73: expected less nesting");
}

#[test]
fn binary_lengths_beyond_the_header_are_refused() {
    let command = sample(SerializeType::RocketMq);
    let out = frame(&command, b"");
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
    let command = Command {
        code: 200_050,
        serialize: SerializeType::RocketMq,
        ..Command::default()
    };
    let out = frame(&command, b"");
    assert_eq!(
        decoded(SerializeType::RocketMq, &out[8..]).unwrap().code,
        3442
    );
}

/// `text` as a JSON string: `style` chooses which characters are written as escapes.
fn escaped(text: &str, style: &mut impl Iterator<Item = u8>) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        if style.next().is_some_and(|choice| choice % 4 == 0) {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units).iter();
            out.extend(units.map(|unit| format!("\\u{unit:04x}")));
        } else {
            let usual = serde_json::to_string(&character.to_string()).unwrap();
            out.push_str(&usual[1..usual.len() - 1]);
        }
    }
    out + "\""
}

proptest! {
    /// Another reader of JSON finds the same in a header, however it is written.
    #[test]
    fn what_another_reader_finds_is_found(
        pairs in proptest::collection::vec(("[a-c\"\\\\é]{0,12}", "\\PC{0,20}|[\u{0}-\u{7f}]{0,9}|-?[1-9][0-9]{0,11}"), 0..8),
        (code, opaque, flag) in any::<(i32, i32, i32)>(),
        style in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let mut choices = style.iter().copied().cycle();
        let fields: Vec<String> = pairs.iter().map(|(key, value)| {
            let (before, behind) = if choices.next() > Some(200) { (" ", "\n\t ") } else { ("", "") };
            let bare = choices.next() > Some(99) && value.parse::<i64>().is_ok();
            let value = if bare { value.clone() } else { escaped(value, &mut choices) };
            format!("{before}{}{before}:{behind}{value}{behind}", escaped(key, &mut choices))
        }).collect();
        let text = format!(
            "{{\"code\":{code},\"opaque\" : \"{opaque}\",\"extFields\":{{{}}},\"later\":{{\"flag\":[0]}},\"flag\":{flag}}}", fields.join(",")
        );
        let read = json(&text).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!((read.code, read.opaque, read.flag), (code, opaque, flag));
        prop_assert_eq!(read.fields.len(), pairs.len());
        for (key, value) in expected["extFields"].as_object().unwrap() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            prop_assert_eq!(read.fields.get(key), Some(&*value), "{}", key);
        }
    }

    #[test]
    fn any_fields_round_trip(pairs in proptest::collection::vec(("\\PC{1,9}|[\u{0}-\u{7f}]{1,5}", "\\PC{1,20}|[\u{0}-\u{7f}]{1,9}"), 0..6),
                             opaque in any::<i32>(), json in any::<bool>()) {
        let serialize = if json { SerializeType::Json } else { SerializeType::RocketMq };
        let fields = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let command = Command { opaque, serialize, fields, ..Command::default() };
        let out = frame(&command, b"");
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
