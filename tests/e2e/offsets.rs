//! Committed offsets across the ends of a broker: an answered commit is there, whatever happens next.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::{Cluster, Connection};

use crate::SOON;

const TOPIC: &str = "counted";
const GROUP: &str = "counting";
const QUEUES: u32 = 4;
/// Messages in each queue, so that no commit below is beyond its end.
const MESSAGES: i64 = 200;

const UPDATE_CONSUMER_OFFSET: i32 = 15;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const DELETE_TOPIC: i32 = 215;

struct World {
    cluster: Cluster,
    connection: Connection,
}

impl World {
    fn start(settings: &[(&str, &str)]) -> Result<Self> {
        let cluster = Cluster::with(settings)?;
        let mut connection = Connection::open(&cluster.broker.address)?;
        connection.create_topic(TOPIC, QUEUES)?;
        for queue in 0..QUEUES {
            let mut frames = Vec::new();
            for number in 0..MESSAGES {
                let body = number.to_string();
                frames.extend(connection.send_frame(TOPIC, queue, "", body.as_bytes()));
            }
            connection.write(&frames)?;
            for _ in 0..MESSAGES {
                connection.read()?.ok()?;
            }
        }
        // A pull makes the group known.
        let pull = [
            ("consumerGroup", GROUP),
            ("topic", TOPIC),
            ("queueId", "0"),
            ("queueOffset", "0"),
            ("maxMsgNums", "1"),
            ("sysFlag", "4"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", "*"),
            ("subVersion", "0"),
        ];
        connection.call(11, &pull, &[])?.ok()?;
        Ok(Self {
            cluster,
            connection,
        })
    }

    fn commit_frame(&mut self, queue: u32, offset: i64) -> Vec<u8> {
        let (queue, offset) = (queue.to_string(), offset.to_string());
        let fields = [
            ("consumerGroup", GROUP),
            ("topic", TOPIC),
            ("queueId", &queue),
            ("commitOffset", &offset),
        ];
        self.connection.frame(UPDATE_CONSUMER_OFFSET, &fields, &[])
    }

    fn commit(&mut self, queue: u32, offset: i64) -> Result<()> {
        let frame = self.commit_frame(queue, offset);
        self.connection.write(&frame)?;
        self.connection.read()?.ok()?;
        Ok(())
    }

    /// The offset the broker has, -1 when it has none.
    fn committed(&mut self, queue: u32) -> Result<i64> {
        let queue = queue.to_string();
        let fields = [
            ("consumerGroup", GROUP),
            ("topic", TOPIC),
            ("queueId", &queue),
            ("setZeroIfNotFound", "false"),
        ];
        let answer = self.connection.call(QUERY_CONSUMER_OFFSET, &fields, &[])?;
        if answer.code == 22 {
            return Ok(-1);
        }
        answer.ok()?.number("offset")
    }

    fn kill_and_restart(&mut self) -> Result<()> {
        self.cluster.broker.kill_and_restart()?;
        self.reconnect()
    }

    /// Ends the broker, as an operator does or by `kill -9`, changes its files, and starts it again.
    fn change_files(
        &mut self,
        kill: bool,
        change: impl FnOnce(&Files) -> Result<()>,
    ) -> Result<()> {
        let broker = &mut self.cluster.broker;
        if kill {
            broker.process.kill()?;
        } else {
            broker.process.terminate()?;
            let status = broker.process.wait_exit(SOON)?;
            ensure!(status.success(), "{status}");
        }
        change(&Files(broker.store.clone()))?;
        self.cluster.broker.start_again()?;
        self.reconnect()
    }

    fn reconnect(&mut self) -> Result<()> {
        self.connection = Connection::open(&self.cluster.broker.address)?;
        Ok(())
    }
}

/// What lies in a store.
struct Files(PathBuf);

impl Files {
    fn json(&self) -> PathBuf {
        self.0.join("config/consumerOffset.json")
    }

    fn kv(&self) -> PathBuf {
        self.0.join("kv")
    }
}

#[test]
fn an_answered_commit_survives_kill_9() -> Result<()> {
    // Never written to the JSON file within this test.
    let mut world = World::start(&[("flushConsumerOffsetInterval", "3600000")])?;
    for round in 1..=5 {
        for queue in 0..QUEUES {
            world.commit(queue, 10 * round + i64::from(queue))?;
        }
        world.kill_and_restart()?;
        for queue in 0..QUEUES {
            let found = world.committed(queue)?;
            ensure!(
                found == 10 * round + i64::from(queue),
                "{round} {queue}: {found}"
            );
        }
    }
    Ok(())
}

#[test]
fn thousands_of_commits_in_flight_share_syncs_and_those_answered_survive() -> Result<()> {
    const WINDOW: i64 = 500;
    let mut world = World::start(&[("flushConsumerOffsetInterval", "3600000")])?;
    let mut frames = Vec::new();
    for number in 0..WINDOW {
        frames.extend(world.commit_frame(u32::try_from(number)? % QUEUES, number % MESSAGES));
    }
    world.connection.write(&frames)?;
    for _ in 0..WINDOW {
        world.connection.read()?.ok()?;
    }
    world.kill_and_restart()?;
    for queue in 0..QUEUES {
        let last = (WINDOW - i64::from(QUEUES) + i64::from(queue)) % MESSAGES;
        let found = world.committed(queue)?;
        ensure!(found == last, "{queue}: {found}, not {last}");
    }
    Ok(())
}

#[test]
fn commits_that_nobody_waits_for_go_with_the_next_one_that_somebody_waits_for() -> Result<()> {
    let mut world = World::start(&[("flushConsumerOffsetInterval", "3600000")])?;
    let mut frame = world.commit_frame(0, 77);
    let flag = b"\"flag\":0";
    let at = frame.windows(flag.len()).position(|bytes| bytes == flag);
    frame[at.context("no flag")? + flag.len() - 1] = b'2';
    world.connection.write(&frame)?;
    world.commit(1, 78)?;
    world.kill_and_restart()?;
    let found = (world.committed(0)?, world.committed(1)?);
    ensure!(found == (77, 78), "{found:?}");
    Ok(())
}

#[test]
fn whichever_of_rows_and_file_is_newer_counts() -> Result<()> {
    let mut world = World::start(&[])?;
    world.commit(0, 10)?;
    // The file has 10; the rows get 11.
    world.change_files(false, |files| {
        ensure!(fs::read_to_string(files.json())?.contains("\"0\": 10"));
        Ok(())
    })?;
    world.commit(0, 11)?;
    world.change_files(true, |_| Ok(()))?;
    ensure!(world.committed(0)? == 11, "our own file was believed");
    // Somebody else has written the file.
    world.change_files(false, |files| {
        let text = fs::read_to_string(files.json())?;
        Ok(fs::write(
            files.json(),
            text.replace("\"0\": 11", "\"0\": 5"),
        )?)
    })?;
    ensure!(world.committed(0)? == 5, "an edited file was not believed");
    world.commit(0, 6)?;
    world.change_files(true, |files| Ok(fs::remove_file(files.json())?))?;
    ensure!(world.committed(0)? == 6, "rows without a file");
    world.change_files(false, |files| {
        fs::write(files.json(), "{\"offsetTable\":{")?;
        Ok(())
    })?;
    ensure!(world.committed(0)? == 6, "rows beside a damaged file");
    world.change_files(false, |files| Ok(fs::remove_dir_all(files.kv())?))?;
    ensure!(world.committed(0)? == 6, "a file without rows");
    Ok(())
}

#[test]
fn a_damaged_database_is_refused_with_what_to_do() -> Result<()> {
    let mut world = World::start(&[])?;
    world.commit(0, 10)?;
    let broker = &mut world.cluster.broker;
    broker.process.terminate()?;
    broker.process.wait_exit(SOON)?;
    let kv = broker.store.join("kv");
    let current = fs::read_to_string(kv.join("CURRENT"))?;
    let manifest = kv.join(current.trim_end());
    let mut bytes = fs::read(&manifest)?;
    bytes[12] ^= 0xff;
    fs::write(&manifest, bytes)?;
    let mut refused = broker.second_on_the_same_store()?;
    let status = refused.wait_exit(SOON)?;
    let errors = refused.errors();
    ensure!(status.code() == Some(3), "{status}: {errors}");
    let told =
        errors.contains(&kv.display().to_string()) && errors.contains("delete this directory");
    ensure!(told, "{errors}");
    fs::remove_dir_all(&kv)?;
    world.cluster.broker.start_again()?;
    world.reconnect()?;
    ensure!(world.committed(0)? == 10);
    Ok(())
}

#[test]
fn after_an_unclean_stop_no_offset_is_beyond_its_queue() -> Result<()> {
    let mut world = World::start(&[])?;
    world.commit(0, MESSAGES + 50)?;
    world.commit(1, MESSAGES - 50)?;
    // Any value is taken, and kept in an orderly stop.
    world.change_files(false, |_| Ok(()))?;
    ensure!(world.committed(0)? == MESSAGES + 50);
    world.kill_and_restart()?;
    ensure!(world.committed(0)? == MESSAGES);
    ensure!(world.committed(1)? == MESSAGES - 50);
    let errors = world.cluster.broker.process.errors();
    ensure!(errors.contains("it goes on there"), "{errors}");
    Ok(())
}

#[test]
fn the_offsets_of_a_deleted_topic_do_not_come_back() -> Result<()> {
    let mut world = World::start(&[("flushConsumerOffsetInterval", "3600000")])?;
    world.commit(0, 10)?;
    let answer = world
        .connection
        .call(DELETE_TOPIC, &[("topic", TOPIC)], &[])?;
    answer.ok()?;
    world.kill_and_restart()?;
    world.connection.create_topic(TOPIC, QUEUES)?;
    let found = world.committed(0)?;
    ensure!(found == -1, "{found}");
    Ok(())
}
