//! Pages of tables that may be too large for one answer.

use common::wire::body::DataVersion;
use std::collections::BTreeMap;

/// Most rows of one page.
const MAX_ROWS: usize = 2000;

/// Leaves in `table` the page that is asked for, if not everything is: rows by their place in the order of names. Pages of
/// different versions do not fit together: if the requester has some of another one than `version`, it is the first one.
pub(super) fn cut<T>(
    table: &mut BTreeMap<String, T>,
    version: &DataVersion,
    (from, rows): (Option<i32>, Option<i32>),
    known: Option<&str>,
) {
    let Some(rows) = rows else { return };
    let rows = usize::try_from(rows).unwrap_or(0).min(MAX_ROWS);
    let known = known.and_then(|text| DataVersion::decode(text.as_bytes()).ok());
    let from = from.filter(|_| known.as_ref() == Some(version));
    let from = usize::try_from(from.unwrap_or(0)).unwrap_or(0);
    let all = std::mem::take(table);
    *table = all.into_iter().skip(from).take(rows).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: DataVersion = DataVersion {
        counter: 3,
        state_version: 0,
        timestamp: 9,
    };

    fn page(from: i32, rows: Option<i32>, version: &str) -> Vec<String> {
        let mut table: BTreeMap<String, u8> =
            ["a", "b", "c", "d"].map(|name| (name.to_owned(), 0)).into();
        cut(&mut table, &VERSION, (Some(from), rows), Some(version));
        table.into_keys().collect()
    }

    #[test]
    fn pages_follow_the_order_of_names_as_long_as_the_version_stays() {
        let known = r#"{"counter":3,"stateVersion":0,"timestamp":9}"#;
        assert_eq!(page(0, Some(2), known), ["a", "b"]);
        assert_eq!(page(2, Some(2), known), ["c", "d"]);
        assert!(page(4, Some(2), known).is_empty());
        for other in [
            "",
            "{}",
            "{nope",
            r#"{"counter":2,"stateVersion":0,"timestamp":9}"#,
        ] {
            assert_eq!(page(2, Some(2), other), ["a", "b"], "{other}");
        }
        assert_eq!(page(2, None, known), ["a", "b", "c", "d"]);
    }
}
