//! Questions about messages that wait for their time.

use crate::error::kv_reply;
use crate::state::State;
use crate::timer::Timers;
use common::wire::header::ListTimersRequestHeader;
use common::wire::{Fields, Reply, response_code};

/// Messages of a page when the request does not say.
const LISTED: usize = 32;

/// `GET_TIMER_CHECK_POINT`.
pub fn check_point(timers: &Timers) -> Reply {
    Reply::ok().with_body(timers.check_point().to_vec())
}

/// `GET_TIMER_METRICS`.
pub fn metrics(timers: &Timers) -> Reply {
    Reply::ok().with_body(timers.metrics_json())
}

/// `SWITCH_TIMER_ENGINE`: there is one engine, and it is the one that files are exchanged for.
pub fn switch_engine(timers: &Timers, fields: &Fields) -> Reply {
    let refuse = |text: &str| Reply::error(response_code::INVALID_PARAMETER, text);
    match fields.get("E_T") {
        _ if !timers.rules().enabled => refuse("broker timerWheelEnable is false"),
        _ if fields.is_empty() => refuse("param error, extFields is null"),
        Some("F") => Reply::ok().with_remark("switch timer engine success"),
        Some("R") => refuse("timerRocksDBEnable must be configured true when broker start"),
        _ => refuse("param error"),
    }
}

/// `LIST_TIMERS`. May wait for the disk.
pub fn list(state: &State, timers: &Timers, header: &ListTimersRequestHeader) -> Reply {
    let limit = header.limit.and_then(|limit| usize::try_from(limit).ok());
    let (topic, from) = (header.topic.as_deref(), header.from.as_deref());
    let (name, limit) = (&state.config.broker_name, limit.unwrap_or(LISTED));
    match timers.list(name, topic, from, limit) {
        Ok(list) => Reply::ok().with_body(list.encode()),
        Err(error) => kv_reply("the timed messages cannot be read", &error),
    }
}
