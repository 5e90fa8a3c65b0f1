//! Which queue an attempt goes to. Pure; the counter is the producer's.

use crate::MessageQueue;
use crate::error::ClientError;

/// The queue at `counter` in the round, preferring one whose broker is not `avoid`: an attempt that follows
/// a failure tries another broker first. `None` when there is no queue.
pub(crate) fn next_queue<'a>(
    queues: &'a [MessageQueue],
    counter: &mut u32,
    avoid: Option<&str>,
) -> Option<&'a MessageQueue> {
    let mut next = || {
        *counter = counter.wrapping_add(1);
        let round = usize::try_from(*counter).unwrap_or(usize::MAX);
        queues.get(round % queues.len().max(1))
    };
    if let Some(avoid) = avoid {
        for _ in 0..queues.len() {
            let queue = next()?;
            if queue.broker_name != avoid {
                return Some(queue);
            }
        }
    }
    next()
}

/// The queue an application's selector chooses.
pub(crate) fn selected(
    queues: &[MessageQueue],
    select: impl FnOnce(&[MessageQueue]) -> usize,
) -> Result<&MessageQueue, ClientError> {
    let (chosen, queues_len) = (select(queues), queues.len());
    queues.get(chosen).ok_or(ClientError::NoSuchQueue {
        chosen,
        queues: queues_len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(spec: &[(&str, i32)]) -> Vec<MessageQueue> {
        let all = spec
            .iter()
            .flat_map(|(broker, n)| (0..*n).map(move |id| (*broker, id)));
        all.map(|(broker, id)| MessageQueue::new("T", broker, id))
            .collect()
    }

    #[test]
    fn goes_round_all_queues() {
        let queues = queues(&[("a", 2), ("b", 1)]);
        let mut counter = u32::MAX;
        let names: Vec<_> = (0..4)
            .map(|_| next_queue(&queues, &mut counter, None).unwrap())
            .map(|queue| format!("{}{}", queue.broker_name, queue.queue_id))
            .collect();
        assert_eq!(names, ["a0", "a1", "b0", "a0"]);
    }

    #[test]
    fn a_retry_prefers_another_broker() {
        let queues = queues(&[("a", 7), ("b", 1)]);
        for start in 0..20 {
            let mut counter = start;
            assert_eq!(
                next_queue(&queues, &mut counter, Some("a"))
                    .unwrap()
                    .broker_name,
                "b"
            );
        }
    }

    #[test]
    fn a_retry_takes_the_only_broker_there_is() {
        let queues = queues(&[("a", 3)]);
        assert!(next_queue(&queues, &mut 0, Some("a")).is_some());
    }

    #[test]
    fn without_queues_there_is_no_choice() {
        assert_eq!(next_queue(&[], &mut 0, None), None);
        assert_eq!(next_queue(&[], &mut 0, Some("a")), None);
    }
}
