//! Messages that are sent again: stored once, and answered like the first time.

use anyhow::{Context, Result, anyhow, ensure};
use tests::{Answer, Cluster, Connection, patiently};

use crate::SOON;
use crate::failing_disk::{ALWAYS, Call, Error, FailingDisk};
use crate::kinds::{batch, create_topic, figure, property, send, send_batch};

const END_TRANSACTION: i32 = 37;
const SEND_BATCH_MESSAGE: i32 = 320;
const RECALL_MESSAGE: i32 = 370;
const WINDOW: &str = "+deduplication.window.ms=600000";

fn key(key: &str) -> String {
    property("UNIQ_KEY", key)
}

/// What a client learns about where its message is.
fn place(answer: Answer) -> Result<[String; 4]> {
    let answer = answer.ok()?;
    let fields = ["msgId", "queueId", "queueOffset", "transactionId"];
    Ok(fields.map(|name| answer.field(name).to_owned()))
}

fn bodies(connection: &mut Connection, topic: &str, queue: u32) -> Result<Vec<String>> {
    let bodies = connection.bodies(topic, queue, 0)?;
    let text = bodies.into_iter().map(String::from_utf8);
    Ok(text.collect::<Result<_, _>>()?)
}

fn stored(connection: &mut Connection, topic: &str, expected: &[&str]) -> Result<()> {
    patiently(topic, SOON, || {
        Ok((bodies(connection, topic, 0)?.len() >= expected.len()).then_some(()))
    })?;
    let found = bodies(connection, topic, 0)?;
    ensure!(found == expected, "{topic}: {found:?}");
    Ok(())
}

#[test]
fn a_message_sent_again_is_answered_like_the_first_and_not_stored_again() -> Result<()> {
    let cluster = Cluster::start()?;
    let address = &cluster.broker.address;
    let (mut one, mut two) = (Connection::open(address)?, Connection::open(address)?);
    for (topic, attributes) in [("once", WINDOW), ("other", WINDOW), ("twice", "")] {
        create_topic(&mut one, topic, attributes)?;
    }
    let first = place(send(&mut one, "once", &key("A"), "a")?)?;
    ensure!(place(send(&mut two, "once", &key("A"), "a")?)? == first);
    // In the same turn as its first, and with one that is new in between.
    let mut frames = one.send_frame("once", 0, &key("B"), b"b");
    frames.extend(one.send_frame("once", 0, &key("A"), b"a"));
    frames.extend(one.send_frame("once", 0, &key("C"), b"c"));
    frames.extend(one.send_frame("once", 0, &key("B"), b"b"));
    one.write(&frames)?;
    let answers = [
        place(one.read()?)?,
        place(one.read()?)?,
        place(one.read()?)?,
        place(one.read()?)?,
    ];
    ensure!(
        answers[1] == first && answers[3] == answers[0],
        "{answers:?}"
    );
    // Another body, another topic, no key at all, no window: other messages.
    for _ in 0..2 {
        send(&mut two, "once", &key("A"), "x")?.ok()?;
        send(&mut two, "other", &key("A"), "a")?.ok()?;
        send(&mut two, "once", "", "n")?.ok()?;
        send(&mut two, "twice", &key("A"), "a")?.ok()?;
    }
    stored(&mut one, "once", &["a", "b", "c", "x", "n", "n"])?;
    stored(&mut one, "other", &["a"])?;
    stored(&mut one, "twice", &["a", "a"])?;
    for (name, topic, expected) in [
        ("arugula_deduplicated_messages_total", "", "5"),
        ("rocketmq_messages_in_total", "topic=\"once\"", "6"),
        ("rocketmq_messages_in_total", "topic=\"other\"", "1"),
    ] {
        let found = figure(&cluster.broker.http, &[name, topic])?;
        ensure!(found == expected, "{name} {topic}: {found}");
    }
    // Switched off again, and a topic that was deleted and made again.
    create_topic(&mut one, "once", "-deduplication.window.ms")?;
    ensure!(place(send(&mut one, "once", &key("A"), "a")?)? != first);
    one.call(215, &[("topic", "other")], &[])?.ok()?;
    create_topic(&mut one, "other", WINDOW)?;
    send(&mut one, "other", &key("A"), "a")?.ok()?;
    stored(&mut one, "other", &["a"])
}

#[test]
fn of_several_that_send_the_same_one_is_first() -> Result<()> {
    const MESSAGES: usize = 1000;
    let cluster = Cluster::start()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, "raced", WINDOW)?;
    let senders = (0..4).map(|_| {
        let address = cluster.broker.address.clone();
        std::thread::spawn(move || -> Result<Vec<[String; 4]>> {
            let mut connection = Connection::open(&address)?;
            let mut places = Vec::new();
            for window in (0..MESSAGES).collect::<Vec<_>>().chunks(20) {
                let frame = |number: &usize| {
                    let body = number.to_string();
                    connection.send_frame("raced", 0, &key(&body), body.as_bytes())
                };
                let frames: Vec<u8> = window.iter().flat_map(frame).collect();
                connection.write(&frames)?;
                for _ in window {
                    places.push(place(connection.read()?)?);
                }
            }
            Ok(places)
        })
    });
    let senders: Vec<_> = senders.collect();
    let mut places = Vec::new();
    for sender in senders {
        places.push(sender.join().map_err(|_| anyhow!("a sender panicked"))??);
    }
    ensure!(places.iter().all(|all| *all == places[0]));
    let found = connection.bodies("raced", 0, 0)?.len();
    ensure!(found == MESSAGES, "{found}");
    Ok(())
}

#[test]
fn a_window_ends() -> Result<()> {
    let cluster = Cluster::with(&[("deduplicationWindowMs", "300")])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, "short", "")?;
    create_topic(&mut connection, "never", "+deduplication.window.ms=0")?;
    let first = place(send(&mut connection, "short", &key("A"), "a")?)?;
    ensure!(place(send(&mut connection, "short", &key("A"), "a")?)? == first);
    let again = patiently("it is stored again", SOON, || {
        let again = place(send(&mut connection, "short", &key("A"), "a")?)?;
        Ok((again != first).then_some(again))
    })?;
    ensure!(again[2] == "1", "{again:?}");
    ensure!(place(send(&mut connection, "short", &key("A"), "a")?)? == again);
    for _ in 0..2 {
        send(&mut connection, "never", &key("A"), "a")?.ok()?;
    }
    stored(&mut connection, "never", &["a", "a"])?;
    // The broker's own window can change while it runs.
    let update = |connection: &mut Connection, text: &[u8]| connection.call(25, &[], text)?.ok();
    update(&mut connection, b"deduplicationWindowMs=600000\n")?;
    let first = place(send(&mut connection, "short", &key("B"), "b")?)?;
    ensure!(place(send(&mut connection, "short", &key("B"), "b")?)? == first);
    update(&mut connection, b"deduplicationWindowMs=0\n")?;
    ensure!(place(send(&mut connection, "short", &key("B"), "b")?)? != first);
    Ok(())
}

#[test]
fn each_message_of_a_batch_is_stored_once() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, "batches", WINDOW)?;
    let keys = ["A", "B", "C"].map(key);
    let all = [(&*keys[0], "a"), (&*keys[1], "b"), (&*keys[2], "c")];
    let first = place(send_batch(&mut connection, "batches", &all)?)?;
    ensure!(place(send_batch(&mut connection, "batches", &all)?)? == first);
    let alone = place(send(&mut connection, "batches", &keys[1], "b")?)?;
    ensure!(
        first[0].split(',').nth(1) == Some(&alone[0]),
        "{first:?} {alone:?}"
    );
    // What a torn batch has left is completed.
    let more = [all[1], ("", "n"), all[2]];
    let mixed = place(send_batch(&mut connection, "batches", &more)?)?;
    ensure!(
        mixed[0].split(',').count() == 3 && mixed[2] == "1",
        "{mixed:?}"
    );
    stored(&mut connection, "batches", &["a", "b", "c", "n"])?;
    cluster.broker.kill_and_restart()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    ensure!(place(send_batch(&mut connection, "batches", &all)?)? == first);
    stored(&mut connection, "batches", &["a", "b", "c", "n"])
}

#[test]
fn a_batch_that_is_stored_whole_is_stored_once() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    let attributes = format!("+queue.type=BatchCQ,{WINDOW}");
    create_topic(&mut connection, "whole", &attributes)?;
    let send_whole = |connection: &mut Connection, name: &str, bodies: &[(&str, &str)]| {
        let (properties, body) = (key(name), batch(bodies)?);
        let fields = [
            ("a", "e2e-producer"),
            ("b", "whole"),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", "0"),
            ("f", "0"),
            ("g", "1700000000000"),
            ("h", "0"),
            ("i", &properties),
            ("j", "0"),
            ("k", "false"),
            ("m", "true"),
        ];
        place(connection.call(SEND_BATCH_MESSAGE, &fields, &body)?)
    };
    let all = [("", "a"), ("", "b"), ("", "c")];
    let first = send_whole(&mut connection, "A", &all)?;
    for _ in 0..2 {
        ensure!(send_whole(&mut connection, "A", &all)? == first);
        let other = send_whole(&mut connection, "A", &all[1..])?;
        ensure!(other[2] == "3", "{other:?}");
        let next = send_whole(&mut connection, "B", &all)?;
        ensure!(next[2] == "5", "{next:?}");
        cluster.broker.kill_and_restart()?;
        connection = Connection::open(&cluster.broker.address)?;
    }
    Ok(())
}

#[test]
fn messages_are_recognized_after_kill_9() -> Result<()> {
    const MESSAGES: usize = 300;
    let mut cluster = Cluster::with(&[
        ("mappedFileSizeCommitLog", "131072"),
        ("maxMessageSize", "65536"),
    ])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    for topic in ["once", "made-anew"] {
        create_topic(&mut connection, topic, WINDOW)?;
    }
    let delayed = property("DELAY", "18");
    let mut firsts = Vec::new();
    for number in 0..MESSAGES {
        let mut properties = key(&format!("K{number}"));
        if number % 10 == 0 {
            properties.push_str(&delayed);
        }
        let body = format!("{number}/{}", "x".repeat(number * 4));
        let answer = place(send(&mut connection, "once", &properties, &body)?)?;
        firsts.push((properties, body, answer));
    }
    send(&mut connection, "made-anew", &key("A"), "a")?.ok()?;
    connection.call(215, &[("topic", "made-anew")], &[])?.ok()?;
    create_topic(&mut connection, "made-anew", WINDOW)?;
    for round in 0..3 {
        cluster.broker.kill_and_restart()?;
        connection = Connection::open(&cluster.broker.address)?;
        for (properties, body, first) in &firsts {
            let again = place(send(&mut connection, "once", properties, body)?)?;
            ensure!(
                again == *first,
                "round {round}: {properties:?} {again:?} {first:?}"
            );
        }
        let expected: Vec<&str> = firsts
            .iter()
            .filter(|(properties, ..)| !properties.contains(&delayed))
            .map(|(_, body, _)| &**body)
            .collect();
        stored(&mut connection, "once", &expected)?;
        send(&mut connection, "made-anew", &key("A"), "a")?.ok()?;
        stored(&mut connection, "made-anew", &["a"])?;
    }
    Ok(())
}

#[test]
fn a_delayed_message_sent_again_is_delivered_once() -> Result<()> {
    let mut cluster = Cluster::with(&[("messageDelayLevel", "1s 2s")])?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, "later", WINDOW)?;
    let delayed = |name: &str, level: &str| key(name) + &property("DELAY", level);
    let first = place(send(&mut connection, "later", &delayed("A", "1"), "a")?)?;
    ensure!(place(send(&mut connection, "later", &delayed("A", "1"), "a")?)? == first);
    stored(&mut connection, "later", &["a"])?;
    // What was delivered is not what was sent: it is answered with the place where it waited.
    ensure!(place(send(&mut connection, "later", &delayed("A", "1"), "a")?)? == first);
    cluster.broker.kill_and_restart()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    ensure!(place(send(&mut connection, "later", &delayed("A", "1"), "a")?)? == first);
    // Nothing of that level can come behind this one of a longer one.
    send(&mut connection, "later", &delayed("B", "2"), "b")?.ok()?;
    stored(&mut connection, "later", &["a", "b"])?;
    for (topic, expected) in [("later", "1"), ("SCHEDULE_TOPIC_XXXX", "1")] {
        let topic = format!("topic=\"{topic}\"");
        let named = [
            "rocketmq_messages_in_total",
            &topic,
            "message_type=\"delay\"",
        ];
        let found = figure(&cluster.broker.http, &named)?;
        ensure!(found == expected, "{topic}: {found}");
    }
    Ok(())
}

#[test]
fn a_timed_message_sent_again_has_its_first_handle() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, "timed", WINDOW)?;
    let timed = |seconds: &str| key("A") + &property("TIMER_DELAY_SEC", seconds);
    let first = send(&mut connection, "timed", &timed("3600"), "a")?.ok()?;
    let handle = first.field("recallHandle").to_owned();
    let first = place(first)?;
    ensure!(!handle.is_empty());
    for _ in 0..2 {
        // Sent a moment later it would be due later, and its handle another one.
        let again = send(&mut connection, "timed", &timed("3700"), "a")?.ok()?;
        ensure!(again.field("recallHandle") == handle, "{again:?}");
        ensure!(place(again)? == first);
        cluster.broker.kill_and_restart()?;
        connection = Connection::open(&cluster.broker.address)?;
    }
    let recall = [("topic", "timed"), ("recallHandle", &*handle)];
    connection.call(RECALL_MESSAGE, &recall, &[])?.ok()?;
    Ok(())
}

#[test]
fn a_half_message_sent_again_is_one_transaction() -> Result<()> {
    let mut cluster = Cluster::start()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, "halves", WINDOW)?;
    let half = key("A") + &property("TRAN_MSG", "true") + &property("PGROUP", "e2e-producer");
    let first = place(send(&mut connection, "halves", &half, "a")?)?;
    cluster.broker.kill_and_restart()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    ensure!(place(send(&mut connection, "halves", &half, "a")?)? == first);
    let [id, _, offset, key] = &first;
    let position = i64::from_str_radix(&id[16..], 16)?.to_string();
    let commit = [
        ("producerGroup", "e2e-producer"),
        ("tranStateTableOffset", offset),
        ("commitLogOffset", &*position),
        ("commitOrRollback", "8"),
        ("fromTransactionCheck", "false"),
        ("msgId", key),
        ("transactionId", key),
    ];
    connection.call(END_TRANSACTION, &commit, &[])?.ok()?;
    stored(&mut connection, "halves", &["a"])?;
    for _ in 0..2 {
        // Neither the half message nor the one it became is stored again.
        ensure!(place(send(&mut connection, "halves", &half, "a")?)? == first);
        connection.call(END_TRANSACTION, &commit, &[])?.ok()?;
        stored(&mut connection, "halves", &["a"])?;
        cluster.broker.kill_and_restart()?;
        connection = Connection::open(&cluster.broker.address)?;
    }
    Ok(())
}

#[test]
fn a_message_sent_again_is_not_confirmed_before_the_first_is_on_the_disk() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(disk) = FailingDisk::new(dir.path())? else {
        return Ok(());
    };
    let sync = [("flushDiskType", "SYNC_FLUSH")];
    let mut cluster = Cluster::with_environment(&sync, &disk.environment)?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    create_topic(&mut connection, "synced", WINDOW)?;
    let first = place(send(&mut connection, "synced", &key("A"), "a")?)?;
    ensure!(place(send(&mut connection, "synced", &key("A"), "a")?)? == first);
    disk.fail(Call::Sync, "commitlog", Error::Io, 0, ALWAYS)?;
    let mut frames = connection.send_frame("synced", 0, &key("B"), b"b");
    frames.extend(connection.send_frame("synced", 0, &key("B"), b"b"));
    connection.write(&frames)?;
    for _ in 0..2 {
        let answer = connection.read()?;
        ensure!(answer.code == 14, "{answer:?}");
    }
    // Nor later, when the message is known and its disk has failed.
    let answer = Connection::open(&cluster.broker.address)
        .and_then(|mut other| send(&mut other, "synced", &key("B"), "b"))?;
    ensure!(answer.code != 0, "{answer:?}");
    disk.work()?;
    cluster.broker.kill_and_restart()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    let offset = place(send(&mut connection, "synced", &key("B"), "b")?)?[2].clone();
    ensure!(offset == "1", "{offset}");
    stored(&mut connection, "synced", &["a", "b"]).context("after the restart")
}
