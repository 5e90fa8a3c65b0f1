//! Pages of tables that may be too large for one answer.

use common::wire::body::DataVersion;
use common::wire::fastjson;
use std::collections::BTreeMap;

/// Most rows of one page.
const MAX_ROWS: usize = 2000;

/// A page as a request asks for it: rows by their place in the order of names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    from: usize,
    rows: usize,
    /// The version the requester has pages of already.
    version: Option<DataVersion>,
}

impl Page {
    /// The page that is asked for, if not everything is.
    pub(super) fn asked_for(
        from: Option<i32>,
        rows: Option<i32>,
        version: Option<&str>,
    ) -> Option<Self> {
        let rows = usize::try_from(rows?).unwrap_or(0).min(MAX_ROWS);
        Some(Self {
            from: usize::try_from(from.unwrap_or(0)).unwrap_or(0),
            rows,
            version: version.and_then(|text| fastjson::from_slice(text.as_bytes()).ok()),
        })
    }

    /// Leaves the page's rows in `table`. Pages of different versions do not fit together: then it is the first one.
    pub(super) fn cut<T>(&self, version: &DataVersion, table: &mut BTreeMap<String, T>) {
        let from = if self.version.as_ref() == Some(version) {
            self.from
        } else {
            0
        };
        let all = std::mem::take(table);
        *table = all.into_iter().skip(from).take(self.rows).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: DataVersion = DataVersion {
        counter: 3,
        state_version: 0,
        timestamp: 9,
    };

    fn page(from: i32, version: &str) -> Vec<String> {
        let mut table: BTreeMap<String, u8> =
            ["a", "b", "c", "d"].map(|name| (name.to_owned(), 0)).into();
        let page = Page::asked_for(Some(from), Some(2), Some(version)).unwrap();
        page.cut(&VERSION, &mut table);
        table.into_keys().collect()
    }

    #[test]
    fn pages_follow_the_order_of_names_as_long_as_the_version_stays() {
        let known = r#"{"counter":3,"stateVersion":0,"timestamp":9}"#;
        assert_eq!(page(0, known), ["a", "b"]);
        assert_eq!(page(2, known), ["c", "d"]);
        assert!(page(4, known).is_empty());
        for other in [
            "",
            "{}",
            "{nope",
            r#"{"counter":2,"stateVersion":0,"timestamp":9}"#,
        ] {
            assert_eq!(page(2, other), ["a", "b"], "{other}");
        }
        assert_eq!(Page::asked_for(None, None, None), None);
    }
}
