//! Consumer groups: creating, changing, deleting and showing them.

use super::page::Page;
use crate::error::kv_reply;
use crate::offset::ConsumerOffsets;
use crate::subscription::{GroupError, SubscriptionGroupTable};
use common::wire::body::{SubscriptionGroupConfig, SubscriptionGroupList};
use common::wire::header::{
    DeleteSubscriptionGroupRequestHeader, GetAllSubscriptionGroupRequestHeader,
    GetAllSubscriptionGroupResponseHeader, GetSubscriptionGroupConfigRequestHeader,
};
use common::wire::{Reply, response_code};

/// Serves the requests about consumer groups.
pub struct GroupHandler {
    groups: SubscriptionGroupTable,
    offsets: ConsumerOffsets,
}

impl GroupHandler {
    /// A handler over the table; a deleted group's offsets go with it when that is asked for.
    pub fn new(groups: SubscriptionGroupTable, offsets: ConsumerOffsets) -> Self {
        Self { groups, offsets }
    }

    /// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP`.
    pub fn create(&self, body: &[u8]) -> Reply {
        match SubscriptionGroupConfig::decode(body) {
            Ok(config) => answer(self.groups.update(config)),
            Err(error) => Reply::error(response_code::SYSTEM_ERROR, error.to_string()),
        }
    }

    /// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST`: all of them, or none.
    pub fn create_list(&self, body: &[u8]) -> Reply {
        match SubscriptionGroupList::decode(body) {
            Ok(list) => answer(self.groups.update_all(list.group_config_list)),
            Err(error) => Reply::error(response_code::SYSTEM_ERROR, error.to_string()),
        }
    }

    /// `DELETE_SUBSCRIPTIONGROUP`.
    pub fn delete(&self, header: &DeleteSubscriptionGroupRequestHeader) -> Reply {
        if let Err(error) = self.groups.delete(&header.group_name) {
            return error.into();
        }
        if header.clean_offset == Some(true) {
            self.offsets.remove_group(&header.group_name);
            if let Err(error) = self.offsets.settle() {
                return kv_reply("the group is deleted, its offsets are not", &error);
            }
        }
        Reply::ok()
    }

    /// `GET_ALL_SUBSCRIPTIONGROUP_CONFIG`: all groups, or a page of them.
    pub fn all(&self, header: &GetAllSubscriptionGroupRequestHeader) -> Reply {
        let mut all = self.groups.wrapper();
        let total = all.subscription_group_table.len();
        if let Some(page) = Page::asked_for(
            header.group_seq,
            header.max_group_num,
            header.data_version.as_deref(),
        ) {
            page.cut(&all.data_version, &mut all.subscription_group_table);
        }
        let total_group_num = Some(i32::try_from(total).unwrap_or(i32::MAX));
        let header = GetAllSubscriptionGroupResponseHeader { total_group_num };
        Reply::ok().with_header(&header).with_body(all.encode())
    }

    /// `GET_SUBSCRIPTIONGROUP_CONFIG`; asking for a group may create it.
    pub fn config(&self, header: &GetSubscriptionGroupConfigRequestHeader) -> Reply {
        let Some(group) = self.groups.find_or_create(&header.group) else {
            let text = format!("No group in this broker. group: {}", header.group);
            return Reply::error(response_code::SUBSCRIPTION_GROUP_NOT_EXIST, text);
        };
        Reply::ok().with_body(group.encode())
    }
}

fn answer(outcome: Result<(), GroupError>) -> Reply {
    match outcome {
        Ok(()) => Reply::ok(),
        Err(error) => error.into(),
    }
}
