//! Route queries: the work of a connection to a name server.

use serde_json::Value;

use std::sync::Arc;

use crate::engine::{Answer, Next, Work};
use crate::frame::RouteTemplate;
use crate::load::Shared;
use crate::tally::{Fault, Tally};

/// One asker.
pub struct AskRoute {
    shared: Arc<Shared>,
    template: RouteTemplate,
    topic: String,
    /// A body that was read and found right; the same bytes need no second look.
    known: Vec<u8>,
}

impl AskRoute {
    /// Asks for the route of `topic`.
    pub fn new(shared: Arc<Shared>, topic: &str, template: RouteTemplate) -> Self {
        Self {
            shared,
            template,
            topic: topic.to_owned(),
            known: Vec::new(),
        }
    }
}

impl Work for AskRoute {
    fn fill(&mut self, opaque: u32, _due_ns: u64, out: &mut Vec<u8>) -> Next {
        if !self.shared.claim() {
            return Next::Done;
        }
        self.template.push(opaque, out);
        Next::Sent(0)
    }

    fn answer(&mut self, answer: &Answer<'_>, tally: &mut Tally) {
        if answer.reply.code != 0 {
            tally.faults.refused(answer.reply.code, answer.reply.remark);
            return;
        }
        if self.known != answer.body {
            if leads_somewhere(answer.body) {
                self.known = answer.body.to_vec();
            } else {
                tally.faults.add(Fault::Altered, 1, || {
                    format!("the route of {} names no broker or queue", self.topic)
                });
            }
        }
        tally.count(1, answer.body.len());
        tally.time(answer.now_ns.saturating_sub(answer.due_ns));
    }
}

/// Strict JSON with a broker that has an address, and queues of that broker.
fn leads_somewhere(body: &[u8]) -> bool {
    let Ok(route) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let list = |name: &str| route[name].as_array().cloned().unwrap_or_default();
    let queues = list("queueDatas");
    list("brokerDatas").iter().any(|broker| {
        broker["brokerAddrs"]["0"]
            .as_str()
            .is_some_and(|address| address.contains(':'))
            && queues.iter().any(|queue| {
                queue["brokerName"] == broker["brokerName"]
                    && queue["readQueueNums"].as_u64().is_some_and(|n| n > 0)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_needs_a_broker_with_an_address_and_queues() {
        let right = r#"{"brokerDatas":[{"brokerAddrs":{"0":"h:1"},"brokerName":"b"}],"queueDatas":[{"brokerName":"b","readQueueNums":4}]}"#;
        assert!(leads_somewhere(right.as_bytes()));
        for wrong in [
            right.replace("\"0\"", "0"),
            right.replace("\"h:1\"", "\"\""),
            right.replace(":4", ":0"),
            right.replacen("\"b\"", "\"c\"", 1),
            "{}".to_owned(),
        ] {
            assert!(!leads_somewhere(wrong.as_bytes()), "{wrong}");
        }
    }
}
