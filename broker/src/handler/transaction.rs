//! Transactions seen from outside: which are open, and checks that begin again. Halves may have to come from the disk.

use crate::transaction::{Checks, Resumed};
use common::message::message_id;
use common::wire::header::{ListTransactionsRequestHeader, ResumeCheckHalfMessageRequestHeader};
use common::wire::{Reply, response_code};

/// `LIST_TRANSACTIONS`: open ones, in pages.
pub fn list(checks: &Checks, header: &ListTransactionsRequestHeader) -> Reply {
    let from = header.offset.and_then(|from| u64::try_from(from).ok());
    let most = header.max_num.and_then(|most| usize::try_from(most).ok());
    let transactions = checks.transactions();
    let page = transactions.list(from.unwrap_or(0), most.unwrap_or(usize::MAX));
    Reply::ok().with_body(page.encode_standard())
}

/// `RESUME_CHECK_HALF_MESSAGE`: the producer is asked about a half message as if it were new, also if it was given up.
pub fn resume(checks: &Checks, header: &ResumeCheckHalfMessageRequestHeader) -> Reply {
    let failed = |text: String| Reply::error(response_code::SYSTEM_ERROR, text);
    let id = &header.msg_id;
    let position = match message_id::parse_offset_id(id) {
        Ok((_, position)) => position.to_wire(),
        Err(error) => return failed(error.to_string()),
    };
    match checks.resume(position) {
        Ok(Resumed::Open) => Reply::ok(),
        // The reference makes a half message of it that belongs to no topic and is discarded in the end.
        Ok(Resumed::NoHalf) => {
            Reply::ok().with_remark(format!("{id} is no half message: nothing was put back"))
        }
        Ok(Resumed::Over) => failed(format!(
            "the transaction of {id} is over: nothing was put back"
        )),
        Ok(Resumed::Again) => failed(format!(
            "the transaction of {id} was taken up again before: nothing was put back"
        )),
        Ok(Resumed::Missing) => failed(format!("there is no message {id}")),
        Err(error) => failed(format!(
            "Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed: {error}"
        )),
    }
}
