use super::*;
use proptest::prelude::*;

fn check(text: &str, expected: &[(&str, &str, usize)]) {
    let parsed = parse(text).unwrap();
    let parsed: Vec<_> = parsed
        .iter()
        .map(|p| (p.key.as_str(), p.value.as_str(), p.line))
        .collect();
    assert_eq!(parsed, expected, "{text:?}");
}

#[test]
fn keys_end_at_an_equals_sign_a_colon_or_a_blank() {
    check(
        "a=1\nb:2\nc 3\nd\t4\ne = 5\nf : 6\n",
        &[
            ("a", "1", 1),
            ("b", "2", 2),
            ("c", "3", 3),
            ("d", "4", 4),
            ("e", "5", 5),
            ("f", "6", 6),
        ],
    );
}

#[test]
fn only_the_first_separator_separates() {
    check(
        "a==1\nb=host:1;host:2\nc::x\nd = = x\n",
        &[
            ("a", "=1", 1),
            ("b", "host:1;host:2", 2),
            ("c", ":x", 3),
            ("d", "= x", 4),
        ],
    );
}

#[test]
fn a_key_alone_has_the_empty_value() {
    check(
        "a\nb=\nc:\n=v\n",
        &[("a", "", 1), ("b", "", 2), ("c", "", 3), ("", "v", 4)],
    );
}

#[test]
fn comments_and_empty_lines_are_skipped_and_counted() {
    check(
        "# one\n\n  ! two=2\n \t\nkey=v # not a comment\n",
        &[("key", "v # not a comment", 5)],
    );
}

#[test]
fn blanks_before_keys_and_values_go_and_those_at_the_end_stay() {
    check("  a  =  x y  \n", &[("a", "x y  ", 1)]);
}

#[test]
fn a_backslash_at_the_end_joins_the_next_line_without_its_blanks() {
    check(
        "a=1,\\\n   2,\\\n\t3\nb=4\n",
        &[("a", "1,2,3", 1), ("b", "4", 4)],
    );
    check("a=1\\", &[("a", "1", 1)]);
    check("a=1\\\\\nb=2", &[("a", "1\\", 1), ("b", "2", 2)]);
    check(
        "a=1\\\n# part of the value",
        &[("a", "1# part of the value", 1)],
    );
    check("# comment \\\na=1", &[("a", "1", 2)]);
}

#[test]
fn every_line_end_is_understood() {
    check(
        "a=1\r\nb=2\rc=3\nd=4\\\r\n5",
        &[("a", "1", 1), ("b", "2", 2), ("c", "3", 3), ("d", "45", 4)],
    );
}

#[test]
fn escapes_are_resolved() {
    check(
        r"a\ b\=c\:d=\t\n\r\f\\\q\#",
        &[("a b=c:d", "\t\n\r\x0c\\q#", 1)],
    );
    check(r"k=\u00fc\u4E2D\ud83d\ude80", &[("k", "ü中🚀", 1)]);
}

#[test]
fn a_broken_unicode_escape_names_its_line() {
    for text in [r"k=\u12", r"k=\u12g4", r"k=\u+123", "k=\\u12ü"] {
        assert_eq!(
            parse(&format!("# c\n{text}")),
            Err(BadEscape { line: 2 }),
            "{text}"
        );
    }
}

#[test]
fn bytes_that_are_not_utf8_are_latin_1() {
    assert_eq!(decode("k=ü".as_bytes()), "k=ü");
    assert_eq!(decode(b"k=\xfc"), "k=ü");
}

#[test]
fn changes_replace_lines_where_they_stand_and_keep_the_rest() {
    let text = "# my broker\n a : 1\n\nb=2,\\\n  3\n! end\nc=4\n";
    let changed = with_changes(text, [("b", "x"), ("a", "y z"), ("new", " v\\")]);
    assert_eq!(
        changed,
        "# my broker\na=y z\n\nb=x\n! end\nc=4\nnew=\\ v\\\\\n"
    );
}

#[test]
fn a_change_replaces_the_line_that_counts() {
    assert_eq!(
        with_changes("a=1\na=2\nb=3", [("a", "9")]),
        "a=1\na=9\nb=3\n"
    );
    assert_eq!(with_changes("", [("a", "9")]), "a=9\n");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(key in "\\PC{1,12}", value in "[\\PC\\n\\r\\t\\x0c]{0,20}") {
        let text = with_changes("first=1\n", [(key.as_str(), value.as_str())]);
        let parsed = parse(&text).unwrap();
        let last = parsed.last().unwrap();
        prop_assert_eq!((&last.key, &last.value), (&key, &value));
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "[a\\\\u=: #!\\n\\r0é]{0,40}") {
        let _ = parse(&text);
        let _ = with_changes(&text, [("a", "b")]);
    }
}
