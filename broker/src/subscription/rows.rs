//! The table of groups in rows: `g` and the name for a group, `f` and the name for what a group may not read, the empty key for
//! the version. Values are JSON.

use crate::kv::{Document, Row, RowChange, json_value, put_rows, version_row};
use common::wire::body::{SubscriptionGroupConfig, SubscriptionGroupWrapper};
use common::wire::fastjson;
use std::collections::BTreeMap;

const GROUP: u8 = b'g';
const FORBIDDEN: u8 = b'f';

/// Permission bits by topic, as the forbidden table has them for a group.
pub(super) type Forbidden = BTreeMap<String, i32>;

/// The row of a group, by its name; `None` when there is none.
pub(super) fn group(name: &str, config: Option<&SubscriptionGroupConfig>) -> RowChange {
    let value = config.map(|config| config.encode_standard().into());
    (key(GROUP, name), value)
}

/// The row of what a group may not read; `None` when there is nothing.
pub(super) fn forbidden(name: &str, bits: Option<&Forbidden>) -> RowChange {
    let value = bits.map(|bits| fastjson::to_vec_standard(bits).into());
    (key(FORBIDDEN, name), value)
}

fn key(kind: u8, name: &str) -> Box<[u8]> {
    [&[kind], name.as_bytes()].concat().into()
}

impl Document for SubscriptionGroupWrapper {
    fn rows(&self) -> Vec<Row> {
        let version = version_row(self.data_version);
        let groups = self.subscription_group_table.iter();
        let groups = groups.map(|(name, config)| group(name, Some(config)));
        let bits = self.forbidden_table.iter();
        let bits = bits.map(|(name, bits)| forbidden(name, Some(bits)));
        put_rows(std::iter::once(version).chain(groups).chain(bits))
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let Some((kind, name)) = key.split_first() else {
            self.data_version = json_value(value)?;
            return Ok(());
        };
        let name = std::str::from_utf8(name).map_err(|error| error.to_string())?;
        match *kind {
            GROUP => {
                let config = json_value(value)?;
                self.subscription_group_table
                    .insert(name.to_owned(), config);
            }
            FORBIDDEN => {
                self.forbidden_table
                    .insert(name.to_owned(), json_value(value)?);
            }
            kind => return Err(format!("there are no rows of kind {kind}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::wire::body::DataVersion;

    #[test]
    fn what_becomes_rows_comes_back() {
        let table = SubscriptionGroupWrapper {
            data_version: DataVersion::new(7),
            forbidden_table: [("g".to_owned(), [("t".to_owned(), 4)].into())].into(),
            subscription_group_table: ["g", "f", "", "\u{fc}"]
                .map(|name| (name.to_owned(), SubscriptionGroupConfig::new(name)))
                .into(),
        };
        let mut back = SubscriptionGroupWrapper::default();
        for (key, value) in table.rows() {
            back.add(&key, &value).unwrap();
        }
        assert_eq!(back, table);
        for (key, value) in [
            (&b"x1"[..], &b"{}"[..]),
            (b"gx", b"{"),
            (b"", b"["),
            (b"g\xff", b"{}"),
        ] {
            assert!(back.add(key, value).is_err(), "{key:?}");
        }
        assert_eq!(back, table);
    }
}
