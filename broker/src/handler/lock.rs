//! `LOCK_BATCH_MQ` and `UNLOCK_BATCH_MQ`.

use super::malformed;
use crate::lock::LockTable;
use common::wire::Reply;
use common::wire::body::{LockBatchRequestBody, LockBatchResponseBody, UnlockBatchRequestBody};

/// `LOCK_BATCH_MQ`: answers the queues that the client holds now.
pub fn lock(locks: &LockTable, body: &[u8]) -> Reply {
    let request = match LockBatchRequestBody::decode(body) {
        Ok(request) => request,
        Err(error) => return malformed("LockBatchRequestBody", &error),
    };
    let locked = locks.lock(&request.consumer_group, &request.client_id, request.mq_set);
    Reply::ok().with_body(
        LockBatchResponseBody {
            lock_ok_mq_set: locked,
        }
        .encode(),
    )
}

/// `UNLOCK_BATCH_MQ`: frees the queues that the client holds.
pub fn unlock(locks: &LockTable, body: &[u8]) -> Reply {
    match UnlockBatchRequestBody::decode(body) {
        Ok(request) => {
            locks.unlock(&request.consumer_group, &request.client_id, &request.mq_set);
            Reply::ok()
        }
        Err(error) => malformed("UnlockBatchRequestBody", &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::clock::{ManualClock, Millis};
    use common::wire::body::MessageQueue;
    use common::wire::response_code;
    use std::sync::Arc;

    fn request(client_id: &str, queue_ids: &[i32]) -> Vec<u8> {
        let queues = queue_ids
            .iter()
            .map(|id| MessageQueue::new("t", "broker-a", *id));
        let body = LockBatchRequestBody {
            client_id: client_id.to_owned(),
            consumer_group: "g".to_owned(),
            mq_set: queues.collect(),
            only_this_broker: false,
        };
        body.encode()
    }

    fn locked(reply: &Reply) -> Vec<i32> {
        assert_eq!((reply.code, &reply.remark), (response_code::SUCCESS, &None));
        let body = LockBatchResponseBody::decode(&reply.body.concat()).unwrap();
        body.lock_ok_mq_set
            .into_iter()
            .map(|queue| queue.queue_id)
            .collect()
    }

    #[test]
    fn locks_are_given_to_one_client_until_it_frees_them() {
        let locks = LockTable::new(Arc::new(ManualClock::new(Millis(0))));
        assert_eq!(locked(&lock(&locks, &request("c1", &[0, 1]))), [0, 1]);
        assert_eq!(locked(&lock(&locks, &request("c2", &[1, 2]))), [2]);
        let freed = unlock(&locks, &request("c1", &[1]));
        assert!(freed.code == response_code::SUCCESS && freed.body.is_empty());
        assert_eq!(locked(&lock(&locks, &request("c2", &[0, 1]))), [1]);
    }

    #[test]
    fn a_body_that_is_no_json_is_answered() {
        let locks = LockTable::new(Arc::new(ManualClock::new(Millis(0))));
        for body in [&b""[..], b"{nope"] {
            assert_eq!(lock(&locks, body).code, response_code::SYSTEM_ERROR);
            assert_eq!(unlock(&locks, body).code, response_code::SYSTEM_ERROR);
        }
    }
}
