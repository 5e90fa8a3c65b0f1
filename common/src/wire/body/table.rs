//! Small general tables.

use std::collections::BTreeMap;

use super::bodies;

bodies! {
    /// Texts by key.
    pub struct KvTable {
        /// The table.
        pub table: BTreeMap<String, String>,
    }

    /// A list of consumer groups.
    pub struct GroupList {
        /// Names.
        pub group_list: Vec<String>,
    }
}
