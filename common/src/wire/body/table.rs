//! Small general tables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::codec;

/// Texts by key.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KvTable {
    /// The table.
    pub table: BTreeMap<String, String>,
}

/// A list of consumer groups.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupList {
    /// Names.
    pub group_list: Vec<String>,
}

codec!(KvTable, GroupList);
