use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{from_slice, to_vec, to_vec_standard};

#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Queue {
    broker_name: String,
    queue_id: i32,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Sample {
    flag: bool,
    names: Vec<String>,
    number: i64,
    rate: f64,
    table: BTreeMap<i64, String>,
    text: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Table {
    #[serde(serialize_with = "super::bean_keys")]
    table: BTreeMap<Queue, i64>,
}

fn sample(text: &str) -> Sample {
    from_slice(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn integer_keys_are_bare_and_text_keys_are_quoted() {
    let mut table = BTreeMap::new();
    table.insert(-1_i64, "a\"b");
    table.insert(10, "ü/");
    assert_eq!(to_vec(&table), "{-1:\"a\\\"b\",10:\"ü/\"}".as_bytes());
    assert_eq!(
        to_vec_standard(&table),
        "{\"-1\":\"a\\\"b\",\"10\":\"ü/\"}".as_bytes()
    );
    let texts: BTreeMap<&str, i32> = [("", 1), ("\n", 2), ("0", 3), ("a\tb", 4)].into();
    assert_eq!(to_vec(&texts), br#"{"":1,"\n":2,"0":3,"a\tb":4}"#);
    assert_eq!(to_vec(&texts), to_vec_standard(&texts));
}

#[test]
fn beans_as_keys_are_written_and_read_as_objects() {
    let table: BTreeMap<Queue, i64> = [
        (
            Queue {
                broker_name: "b".into(),
                queue_id: 1,
            },
            7,
        ),
        (
            Queue {
                broker_name: "c".into(),
                queue_id: 0,
            },
            8,
        ),
    ]
    .into();
    let table = Table { table };
    let out = to_vec(&table);
    assert_eq!(
        out,
        br#"{"table":{{"brokerName":"b","queueId":1}:7,{"brokerName":"c","queueId":0}:8}}"#
    );
    assert_eq!(from_slice::<Table>(&out), Ok(table));
}

#[test]
fn integer_keys_are_read_with_and_without_quotes() {
    let expected = [(0, "a".to_owned()), (12, "b".to_owned())].into();
    assert_eq!(sample(r#"{"table":{0:"a",12:"b"}}"#).table, expected);
    assert_eq!(sample(r#"{"table":{"0":"a","12":"b"}}"#).table, expected);
    assert_eq!(sample(r"{table:{'0':'a',12:'b',},}").table, expected);
}

#[test]
fn quoted_numbers_numbers_for_text_and_null_are_taken() {
    assert_eq!(
        sample(
            r#"{"flag":"true","number":"-5","rate":"1.5","text":7,"names":null,"later":{"x":[1,null]}}"#
        ),
        Sample {
            flag: true,
            number: -5,
            rate: 1.5,
            text: Some("7".into()),
            ..Sample::default()
        }
    );
}

#[test]
fn the_last_of_two_equal_names_wins() {
    assert_eq!(sample(r#"{"number":1,"number":2}"#).number, 2);
}

#[test]
fn escapes_are_those_of_json_and_a_few_more() {
    assert_eq!(
        sample(r"{'text':'\u00fc\n\'\ud83d\ude00\ud800x'}")
            .text
            .as_deref(),
        Some("ü\n'😀\u{fffd}x")
    );
}

#[test]
fn references_name_an_earlier_part() {
    let text = r#"{"names":["a","b"],"table":{},"text":{"$ref":"$.names[1]"}}"#;
    assert_eq!(sample(text).text.as_deref(), Some("b"));
    assert_eq!(
        sample(r#"{"text":{"$ref":"$.nothing[9].there"}}"#).text,
        None
    );
}

#[test]
fn references_cannot_grow_a_document_without_bound() {
    let mut text = String::from("{a:[");
    text.push_str(&"1,".repeat(1000));
    text.push_str("],names:[");
    text.push_str(&"{\"$ref\":\"$.a\"},".repeat(1000));
    text.push_str("]}");
    let error = from_slice::<Sample>(text.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("references add more"), "{error}");
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    for (text, part) in [
        ("", "ends at byte 0"),
        ("{", "ends at byte 1"),
        ("{a}", "expected `:`"),
        ("{a:1 b:2}", "expected `,` or `}`"),
        ("[1 2]", "expected `,` or `]`"),
        ("{\"text\":\"x", "end of a string"),
        ("{a:hello}", "'h' at byte 3"),
        ("{a:1}x", "expected the end"),
        ("{a:\"\\u12\"}", "hexadecimal"),
        ("{number:\"x\"}", "invalid type"),
    ] {
        let error = from_slice::<Sample>(text.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(from_slice::<Sample>(b"\xff").is_err());
    let deep = "[".repeat(100_000);
    assert!(
        from_slice::<Sample>(deep.as_bytes())
            .unwrap_err()
            .to_string()
            .contains("deeper than 128")
    );
}

#[test]
fn every_proper_prefix_is_refused() {
    let whole =
        r#"{'table':{0:"ä",-7:'\u00fc'},names:["x",'y'],"number":12,"flag":true,"rate":0.5}"#;
    sample(whole);
    for end in 0..whole.len() {
        assert!(
            from_slice::<Sample>(&whole.as_bytes()[..end]).is_err(),
            "{end}"
        );
    }
}

fn texts() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        flag: bool,
        names in proptest::collection::vec(texts(), 0..4),
        number: i64,
        rate: i32,
        table in proptest::collection::btree_map(any::<i64>(), texts(), 0..4),
        text in proptest::option::of(texts()),
    ) {
        let sample = Sample { flag, names, number, rate: f64::from(rate), table, text };
        for written in [to_vec(&sample), to_vec_standard(&sample)] {
            prop_assert_eq!(&from_slice::<Sample>(&written).unwrap(), &sample);
        }
    }

    #[test]
    fn no_bytes_harm_the_reader(bytes: Vec<u8>, text in r#"[\[\]{}:,"'a0\\u.$-]{0,60}"#) {
        let _ = from_slice::<Sample>(&bytes);
        let _ = from_slice::<Sample>(text.as_bytes());
        let _ = from_slice::<BTreeMap<Queue, Vec<i32>>>(text.as_bytes());
    }
}
