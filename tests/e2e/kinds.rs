//! Messages of a kind: what topics take, and how they are counted.

use anyhow::{Result, ensure};
use tests::{Answer, Cluster, Connection, http_get};

const CREATE_TOPIC: i32 = 17;
const MESSAGE_ILLEGAL: i64 = 13;

pub fn property(name: &str, value: &str) -> String {
    format!("{name}\u{1}{value}\u{2}")
}

/// Creates or changes a topic with one queue.
pub fn create_topic(connection: &mut Connection, topic: &str, attributes: &str) -> Result<Answer> {
    let fields = [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "1"),
        ("writeQueueNums", "1"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
        ("attributes", attributes),
    ];
    connection.call(CREATE_TOPIC, &fields, &[])?.ok()
}

pub fn send(
    connection: &mut Connection,
    topic: &str,
    properties: &str,
    body: &str,
) -> Result<Answer> {
    let frame = connection.send_frame(topic, 0, properties, body.as_bytes());
    connection.write(&frame)?;
    connection.read()
}

/// The body of a batch of these properties and bodies.
pub fn batch(messages: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for (properties, body) in messages {
        let total = u32::try_from(4 + 4 + 4 + 4 + 4 + body.len() + 2 + properties.len())?;
        for number in [total, 0, 0, 0, u32::try_from(body.len())?] {
            all.extend(number.to_be_bytes());
        }
        all.extend(body.as_bytes());
        all.extend(u16::try_from(properties.len())?.to_be_bytes());
        all.extend(properties.as_bytes());
    }
    Ok(all)
}

pub fn send_batch(
    connection: &mut Connection,
    topic: &str,
    messages: &[(&str, &str)],
) -> Result<Answer> {
    let frame = connection.batch_frame(topic, 0, &batch(messages)?);
    connection.write(&frame)?;
    connection.read()
}

/// A figure of the metrics whose line names all of these.
pub fn figure(http: &str, named: &[&str]) -> Result<String> {
    let (_, text) = http_get(http, "/metrics")?;
    let line = text.lines().find(|line| {
        let names_all = named.iter().all(|name| line.contains(name));
        !line.starts_with('#') && names_all
    });
    let value = line.and_then(|line| line.rsplit(' ').next());
    Ok(value.unwrap_or("none").to_owned())
}

#[test]
fn a_topic_takes_what_it_is_for_where_that_is_checked() -> Result<()> {
    let cluster = Cluster::with(&[
        ("enableTopicMessageTypeCheck", "true"),
        ("enableMixedMessageType", "true"),
    ])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    for (topic, attributes) in [
        ("plain", ""),
        ("ordered", "+message.type=FIFO"),
        ("delayed", "+message.type=DELAY"),
        ("mixed", "+message.type=MIXED"),
        ("any", "+message.type=UNSPECIFIED"),
    ] {
        create_topic(&mut connection, topic, attributes)?;
    }
    let (fifo, delay) = (property("__SHARDINGKEY", "k"), property("DELAY", "1"));
    for (topic, properties, remark) in [
        ("plain", "", None),
        ("plain", &*fifo, Some("NORMAL only, this one is FIFO")),
        ("plain", &*delay, Some("NORMAL only, this one is DELAY")),
        ("ordered", &*fifo, None),
        ("ordered", "", Some("FIFO only, this one is NORMAL")),
        ("delayed", &*delay, None),
        ("delayed", &*fifo, Some("DELAY only, this one is FIFO")),
        ("mixed", "", None),
        ("mixed", &*fifo, None),
        ("any", &*delay, None),
        // Redeliveries are never refused.
        ("%RETRY%e2e", &*delay, None),
    ] {
        let answer = send(&mut connection, topic, properties, "x")?;
        match remark {
            None => ensure!(answer.code == 0, "{topic} {properties:?}: {answer:?}"),
            Some(text) => ensure!(
                answer.code == MESSAGE_ILLEGAL
                    && answer.remark.contains(text)
                    && answer.remark.contains(topic),
                "{topic} {properties:?}: {answer:?}"
            ),
        }
    }
    let answer = send_batch(&mut connection, "ordered", &[(&fifo, "1"), ("", "2")])?;
    ensure!(answer.code == MESSAGE_ILLEGAL, "{answer:?}");
    send_batch(&mut connection, "ordered", &[(&fifo, "1"), (&fifo, "2")])?.ok()?;
    Ok(())
}

#[test]
fn messages_are_counted_by_their_kind() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, "counted", "+message.type=FIFO")?;
    let fifo = property("__SHARDINGKEY", "k");
    // Without the check a topic takes everything.
    for (properties, times) in [
        (String::new(), 3),
        (fifo.clone(), 2),
        (property("_SYS_MSG_PRIORITY_", "0"), 4),
    ] {
        for _ in 0..times {
            send(&mut connection, "counted", &properties, "x")?.ok()?;
        }
    }
    send_batch(&mut connection, "counted", &[(&fifo, "1"), (&fifo, "2")])?.ok()?;
    for (kind, expected) in [("normal", "3"), ("fifo", "4"), ("priority", "4")] {
        let kind = format!("message_type=\"{kind}\"");
        let named = ["rocketmq_messages_in_total", "topic=\"counted\"", &kind];
        let found = figure(&cluster.broker.http, &named)?;
        ensure!(found == expected, "{kind}: {found}");
    }
    Ok(())
}
