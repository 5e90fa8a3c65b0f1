//! Which queues of a topic a member of a consumer group takes: a pure function of the sorted queues and
//! the sorted client ids, so that all members, each on its own, come to shares that do not overlap.

use crate::MessageQueue;

/// A rule that splits the queues of a topic among the members of a group.
///
/// All members of a group must use the same rule, or queues are read twice or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AllocateStrategy {
    /// `AVG`: neighbouring queues in one block each; the first members get one more when it does not come
    /// out even. What every RocketMQ client does unless told otherwise.
    #[default]
    Average,
    /// `AVG_BY_CIRCLE`: queues dealt one by one.
    AverageByCircle,
}

impl AllocateStrategy {
    /// The name under which the rule is known on the wire and in tools.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "AVG",
            Self::AverageByCircle => "AVG_BY_CIRCLE",
        }
    }

    /// The share of `client_id`. `queues` and `clients` must be sorted the same way at every member.
    ///
    /// Nothing is assigned to a client that is not in `clients`: the broker does not know it as a member
    /// (yet), and whoever is known has divided everything among themselves.
    pub fn allocate(
        self,
        client_id: &str,
        queues: &[MessageQueue],
        clients: &[String],
    ) -> Vec<MessageQueue> {
        let Some(index) = clients.iter().position(|known| known == client_id) else {
            return Vec::new();
        };
        match self {
            Self::Average => average(index, queues, clients.len()),
            Self::AverageByCircle => queues
                .iter()
                .skip(index)
                .step_by(clients.len())
                .cloned()
                .collect(),
        }
    }
}

fn average(index: usize, queues: &[MessageQueue], clients: usize) -> Vec<MessageQueue> {
    let (share, left) = (queues.len() / clients, queues.len() % clients);
    let size = share + usize::from(index < left);
    let start = index * share + index.min(left);
    queues.iter().skip(start).take(size).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: i32) -> Vec<MessageQueue> {
        (0..count)
            .map(|id| MessageQueue::new("T", "broker-a", id))
            .collect()
    }

    fn clients(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.0.1@{n}")).collect()
    }

    fn ids(strategy: AllocateStrategy, queue_count: i32, client_count: usize) -> Vec<Vec<i32>> {
        let clients = clients(client_count);
        clients
            .iter()
            .map(|client| {
                let share = strategy.allocate(client, &queues(queue_count), &clients);
                share.iter().map(|queue| queue.queue_id).collect()
            })
            .collect()
    }

    #[test]
    fn average_gives_contiguous_blocks_and_the_rest_to_the_first() {
        let check = |queues, clients, expected: Vec<Vec<i32>>| {
            assert_eq!(ids(AllocateStrategy::Average, queues, clients), expected);
        };
        check(8, 1, vec![(0..8).collect()]);
        check(8, 2, vec![vec![0, 1, 2, 3], vec![4, 5, 6, 7]]);
        check(8, 3, vec![vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
        check(
            10,
            4,
            vec![vec![0, 1, 2], vec![3, 4, 5], vec![6, 7], vec![8, 9]],
        );
        check(3, 3, vec![vec![0], vec![1], vec![2]]);
        check(2, 4, vec![vec![0], vec![1], vec![], vec![]]);
        check(0, 2, vec![vec![], vec![]]);
    }

    #[test]
    fn circle_deals_one_by_one() {
        let dealt = ids(AllocateStrategy::AverageByCircle, 7, 3);
        assert_eq!(dealt, vec![vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
        assert_eq!(
            ids(AllocateStrategy::AverageByCircle, 1, 2),
            vec![vec![0], vec![]]
        );
    }

    #[test]
    fn a_client_the_broker_does_not_list_gets_nothing() {
        let share = AllocateStrategy::Average.allocate("stranger", &queues(4), &clients(2));
        assert!(share.is_empty());
    }

    #[test]
    fn every_queue_has_exactly_one_owner() {
        for strategy in [AllocateStrategy::Average, AllocateStrategy::AverageByCircle] {
            for queue_count in 0..40 {
                for client_count in 1..12 {
                    let mut owned: Vec<i32> = ids(strategy, queue_count, client_count)
                        .into_iter()
                        .flatten()
                        .collect();
                    owned.sort_unstable();
                    assert_eq!(owned, (0..queue_count).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn shares_differ_by_at_most_one() {
        for queue_count in 0..40 {
            for client_count in 1..12 {
                let sizes: Vec<usize> = ids(AllocateStrategy::Average, queue_count, client_count)
                    .iter()
                    .map(Vec::len)
                    .collect();
                let most = sizes.iter().max().copied().unwrap_or(0);
                let least = sizes.iter().min().copied().unwrap_or(0);
                assert!(
                    most - least <= 1,
                    "{queue_count} queues, {client_count} clients: {sizes:?}"
                );
            }
        }
    }
}
