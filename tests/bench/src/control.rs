//! One request at a time, for what happens around a run: topics, offsets, routes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use common::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::frame;

/// Topic that every broker registers to copy new ones from.
const TEMPLATE_TOPIC: &str = "TBW102";

const UPDATE_AND_CREATE_TOPIC: i32 = 17;
const GET_MAX_OFFSET: i32 = 30;
const GET_MIN_OFFSET: i32 = 31;
const GET_ROUTEINFO_BY_TOPIC: i32 = 105;
const GET_SUBSCRIPTIONGROUP_CONFIG: i32 = 352;

/// How long a server may take until it does what a run needs: to accept, to create a topic, to know its route.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// No answer to a control request takes longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection for control requests.
pub struct Control {
    stream: TcpStream,
    address: String,
    opaque: u32,
}

/// The answer to a control request.
#[derive(Debug)]
pub struct Answered {
    /// Response code.
    pub code: i64,
    header: Value,
    body: Vec<u8>,
}

impl Answered {
    fn field(&self, name: &str) -> &str {
        self.header["extFields"][name].as_str().unwrap_or("")
    }

    fn remark(&self) -> &str {
        self.header["remark"].as_str().unwrap_or("")
    }
}

impl Control {
    /// Connects.
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = crate::load::connect(address)?;
        stream.set_read_timeout(Some(CALL_TIMEOUT))?;
        Ok(Self {
            stream,
            address: address.to_owned(),
            opaque: frame::OPAQUE_FIRST,
        })
    }

    /// Sends a request and waits for its answer.
    pub fn call(&mut self, code: i32, fields: &[(&str, String)]) -> anyhow::Result<Answered> {
        self.opaque += 1;
        let context = || format!("request code {code} to {}", self.address);
        self.stream
            .write_all(&frame::control(code, self.opaque, fields))
            .with_context(context)?;
        loop {
            let mut prefix = [0; 8];
            self.stream.read_exact(&mut prefix).with_context(context)?;
            let (length, mark) = (number(&prefix[..4]), number(&prefix[4..]));
            let header_bytes = mark & 0xFF_FFFF;
            if mark >> 24 != 0 || header_bytes + 4 > length || length > 16 << 20 {
                bail!(
                    "request code {code} to {}: the answer is no JSON frame",
                    self.address
                );
            }
            let mut header = vec![0; header_bytes];
            self.stream.read_exact(&mut header).with_context(context)?;
            let mut body = vec![0; length - 4 - header_bytes];
            self.stream.read_exact(&mut body).with_context(context)?;
            let header: Value = serde_json::from_slice(&header).with_context(context)?;
            if header["flag"].as_i64().unwrap_or(0) & 1 != 0
                && header["opaque"].as_u64() == Some(self.opaque.into())
            {
                return Ok(Answered {
                    code: header["code"].as_i64().unwrap_or(-1),
                    header,
                    body,
                });
            }
        }
    }

    /// Creates a topic or makes sure it has so many queues. A broker that has just started may need some tries.
    pub fn create_topic(&mut self, topic: &str, queues: u16) -> anyhow::Result<()> {
        let fields = [
            ("topic", topic.to_owned()),
            ("defaultTopic", TEMPLATE_TOPIC.to_owned()),
            ("readQueueNums", queues.to_string()),
            ("writeQueueNums", queues.to_string()),
            ("perm", "6".to_owned()),
            ("topicFilterType", "SINGLE_TAG".to_owned()),
            ("topicSysFlag", "0".to_owned()),
            ("order", "false".to_owned()),
        ];
        patiently(|| {
            let answer = self.call(UPDATE_AND_CREATE_TOPIC, &fields)?;
            if answer.code != 0 {
                bail!(
                    "create topic {topic} at {}: code {}: {}",
                    self.address,
                    answer.code,
                    answer.remark()
                );
            }
            Ok(())
        })
    }

    /// Makes sure that a group is known. Asking for it creates it where groups create themselves.
    pub fn create_group(&mut self, group: &str) -> anyhow::Result<()> {
        let answer = self.call(GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", group.to_owned())])?;
        if answer.code != 0 {
            bail!("group {group}: code {}: {}", answer.code, answer.remark());
        }
        Ok(())
    }

    fn offset(&mut self, code: i32, topic: &str, queue: u16) -> anyhow::Result<u64> {
        let answer = self.call(
            code,
            &[("topic", topic.to_owned()), ("queueId", queue.to_string())],
        )?;
        let Ok(offset) = answer.field("offset").parse() else {
            bail!(
                "offset of {topic} queue {queue}: code {}: {}",
                answer.code,
                answer.remark()
            );
        };
        Ok(offset)
    }

    /// The offset after the last message.
    pub fn max_offset(&mut self, topic: &str, queue: u16) -> anyhow::Result<u64> {
        self.offset(GET_MAX_OFFSET, topic, queue)
    }

    /// The offset of the first message.
    pub fn min_offset(&mut self, topic: &str, queue: u16) -> anyhow::Result<u64> {
        self.offset(GET_MIN_OFFSET, topic, queue)
    }

    /// The route of a topic; `None` when the name server does not know it.
    pub fn route(&mut self, topic: &str) -> anyhow::Result<Option<Value>> {
        let fields = [
            ("topic", topic.to_owned()),
            ("acceptStandardJsonOnly", "true".to_owned()),
        ];
        let answer = self.call(GET_ROUTEINFO_BY_TOPIC, &fields)?;
        match answer.code {
            0 => Ok(Some(
                serde_json::from_slice(&answer.body).context("body of a route")?,
            )),
            17 => Ok(None),
            code => bail!(
                "route of {topic} at {}: code {code}: {}",
                self.address,
                answer.remark()
            ),
        }
    }

    /// The route of a topic once it has `queues` queues that can be written.
    pub fn wait_for_route(&mut self, topic: &str, queues: u16) -> anyhow::Result<Value> {
        patiently(|| {
            let route = self
                .route(topic)?
                .with_context(|| format!("{} has no route of {topic}", self.address))?;
            let known = &route["queueDatas"][0]["writeQueueNums"];
            if known.as_u64().is_some_and(|known| known >= queues.into()) {
                return Ok(route);
            }
            bail!(
                "{} knows topic {topic} with {known} queues, wanted {queues}",
                self.address
            )
        })
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}

/// Tries until it works or [`PATIENCE`] is at its end.
pub fn patiently<T>(mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let clock = SystemClock::new();
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if clock.monotonic() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(RETRY),
        }
    }
}

/// The address of the first master a name server knows.
pub fn find_broker(namesrv: &str) -> anyhow::Result<String> {
    patiently(|| {
        let route = Control::connect(namesrv)?.route(TEMPLATE_TOPIC)?;
        let route = route.with_context(|| format!("no broker has registered at {namesrv}"))?;
        master(&route).with_context(|| format!("{namesrv} knows no master"))
    })
}

fn master(route: &Value) -> Option<String> {
    let brokers = route["brokerDatas"].as_array()?;
    brokers
        .iter()
        .find_map(|broker| Some(broker["brokerAddrs"]["0"].as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_master_of_a_route_is_taken() {
        let route = r#"{"brokerDatas":[{"brokerAddrs":{"1":"127.0.0.1:2"}},{"brokerAddrs":{"0":"127.0.0.1:1"}}]}"#;
        assert_eq!(
            master(&serde_json::from_str(route).unwrap()).as_deref(),
            Some("127.0.0.1:1")
        );
        assert_eq!(master(&Value::Null), None);
    }
}
