use super::*;

fn known(file: &[&str], copy: &[&str]) -> Known {
    let digests = |texts: &[&str]| texts.iter().map(|text| digest(text)).collect();
    Known {
        file: digests(file),
        copy: digests(copy),
    }
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// `-` is no file, `!` a damaged one, anything else a good one.
fn look(text: &str) -> Look {
    match text {
        "-" => Look::Absent,
        "!" => Look::Damaged,
        text => Look::Good(digest(text)),
    }
}

#[test]
fn every_combination_has_its_source() {
    use Source::{Copy, File, Lost, Nothing, Rows};
    let ours = known(&["b"], &["a"]);
    let about_to = known(&["b", "c"], &["a"]);
    let none = Known::default();
    for (file, copy, known, rows, expected) in [
        // In order, and a crash at each step of writing the next file.
        ("b", "a", &ours, true, Rows),
        ("b", "a", &about_to, true, Rows),
        ("-", "b", &about_to, true, Rows),
        ("c", "b", &about_to, true, Rows),
        // Another broker or an operator was here.
        ("x", "a", &ours, true, File),
        ("x", "b", &about_to, true, File),
        ("a", "b", &ours, true, File),
        ("x", "-", &none, true, File),
        // No rows.
        ("x", "-", &none, false, File),
        ("x", "!", &none, false, File),
        ("-", "x", &none, false, Copy),
        ("!", "x", &none, false, Copy),
        ("-", "-", &none, false, Nothing),
        ("!", "-", &none, false, Lost),
        ("!", "!", &none, false, Lost),
        ("-", "!", &none, false, Lost),
        // Damage.
        ("!", "a", &ours, true, Rows),
        ("!", "b", &ours, true, Rows),
        ("!", "-", &ours, true, Rows),
        ("!", "!", &ours, true, Rows),
        ("-", "!", &ours, true, Rows),
        ("!", "x", &ours, true, Copy),
        ("b", "!", &ours, true, Rows),
    ] {
        let found = source(look(file), look(copy), known, rows);
        assert_eq!(found, expected, "{file} {copy} {known:?} {rows}");
    }
}

#[test]
fn an_edit_of_one_digit_is_noticed() {
    let text = br#"{"offsetTable":{"t@g":{"0":12}}}"#;
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut edited = text.to_vec();
            edited[at] ^= 1 << bit;
            assert_ne!(Digest::of(&edited), Digest::of(text));
        }
    }
}
