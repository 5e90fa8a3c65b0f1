//! Consumer groups: creating, changing, deleting and showing them.

use super::page::cut;
use crate::error::{ChangeError, kv_reply};
use crate::state::State;
use common::wire::body::{SubscriptionGroupConfig, SubscriptionGroupList};
use common::wire::header::{
    DeleteSubscriptionGroupRequestHeader, GetAllSubscriptionGroupRequestHeader,
    GetAllSubscriptionGroupResponseHeader, GroupRequestHeader,
};
use common::wire::{Reply, response_code};

/// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP`.
pub fn create(state: &State, body: &[u8]) -> Reply {
    match SubscriptionGroupConfig::decode(body) {
        Ok(config) => answer(state.groups.update(config)),
        Err(error) => Reply::error(response_code::SYSTEM_ERROR, error.to_string()),
    }
}

/// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST`: all of them, or none.
pub fn create_list(state: &State, body: &[u8]) -> Reply {
    match SubscriptionGroupList::decode(body) {
        Ok(list) => answer(state.groups.update_all(list.group_config_list)),
        Err(error) => Reply::error(response_code::SYSTEM_ERROR, error.to_string()),
    }
}

/// `DELETE_SUBSCRIPTIONGROUP`.
pub fn delete(state: &State, header: &DeleteSubscriptionGroupRequestHeader) -> Reply {
    if let Err(error) = state.groups.delete(&header.group_name) {
        return error.into();
    }
    if header.clean_offset == Some(true) {
        state.offsets.remove_group(&header.group_name);
        if let Err(error) = state.offsets.settle() {
            return kv_reply("the group is deleted, its offsets are not", &error);
        }
    }
    Reply::ok()
}

/// `GET_ALL_SUBSCRIPTIONGROUP_CONFIG`: all groups, or a page of them.
pub fn all(state: &State, header: &GetAllSubscriptionGroupRequestHeader) -> Reply {
    let mut all = state.groups.wrapper();
    let total = all.subscription_group_table.len();
    let asked = (header.group_seq, header.max_group_num);
    let known = header.data_version.as_deref();
    cut(
        &mut all.subscription_group_table,
        &all.data_version,
        asked,
        known,
    );
    let total_group_num = Some(i32::try_from(total).unwrap_or(i32::MAX));
    let header = GetAllSubscriptionGroupResponseHeader { total_group_num };
    Reply::ok().with_header(&header).with_body(all.encode())
}

/// `GET_SUBSCRIPTIONGROUP_CONFIG`; asking for a group may create it.
pub fn config(state: &State, header: &GroupRequestHeader) -> Reply {
    let Some(group) = state.groups.find_or_create(&header.group) else {
        let text = format!("No group in this broker. group: {}", header.group);
        return Reply::error(response_code::SUBSCRIPTION_GROUP_NOT_EXIST, text);
    };
    Reply::ok().with_body(group.encode())
}

fn answer(outcome: Result<(), ChangeError>) -> Reply {
    match outcome {
        Ok(()) => Reply::ok(),
        Err(error) => error.into(),
    }
}
