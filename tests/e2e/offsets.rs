//! Committed offsets, topics and groups across the ends of a broker: what is answered is there, whatever happens next.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Cluster, Connection, http_get, patiently};

use crate::SOON;
use crate::disk_full::SmallDisk;

const TOPIC: &str = "counted";
const GROUP: &str = "counting";
const QUEUES: u32 = 4;
/// Messages in each queue, so that no commit below is beyond its end.
const MESSAGES: i64 = 200;

const UPDATE_CONSUMER_OFFSET: i32 = 15;
const QUERY_CONSUMER_OFFSET: i32 = 14;
const DELETE_TOPIC: i32 = 215;
const GET_TOPIC_CONFIG: i32 = 351;
const GET_ALL_GROUPS: i32 = 201;

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

/// Names in a table's JSON file, whoever wrote it.
fn names(file: &Path, table: &str) -> Result<BTreeSet<String>> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    let json: serde_json::Value = serde_json::from_slice(&text)?;
    let table = json[table].as_object().context("no table")?;
    Ok(table.keys().cloned().collect())
}

#[test]
fn answered_topics_survive_kill_9_and_their_file_follows() -> Result<()> {
    const TOPICS: usize = 50;
    let mut cluster = Cluster::start()?;
    let topic = |number: usize| format!("topic-{number:03}");
    let mut connection = Connection::open(&cluster.broker.address)?;
    for number in 0..TOPICS {
        connection.create_topic(&topic(number), 8)?;
    }
    cluster.broker.kill_and_restart()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    for number in 0..TOPICS {
        let topic = topic(number);
        connection
            .call(GET_TOPIC_CONFIG, &[("topic", &topic)], &[])?
            .ok()?;
    }
    let answer = connection.call(DELETE_TOPIC, &[("topic", &topic(7))], &[])?;
    answer.ok()?;
    // A Java broker that takes over now finds them all, whenever this one was killed.
    let file = cluster.broker.store.join("config/topics.json");
    let complete = |names: &BTreeSet<String>| {
        (0..TOPICS).all(|number| names.contains(&topic(number)) != (number == 7))
    };
    patiently("the file has all topics", SOON, || {
        let names = names(&file, "topicConfigTable").unwrap_or_default();
        Ok(complete(&names).then_some(()))
    })?;
    cluster.broker.kill_and_restart()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    let gone = connection.call(GET_TOPIC_CONFIG, &[("topic", &topic(7))], &[])?;
    ensure!(gone.code == 17, "{gone:?}");
    Ok(())
}

#[test]
fn topics_and_groups_that_somebody_else_wrote_are_taken_over() -> Result<()> {
    let mut world = World::start(&[])?;
    world.change_files(false, |files| {
        let config = files.0.join("config");
        for (file, from, to) in [
            ("topics.json", TOPIC, "renamed"),
            ("subscriptionGroup.json", GROUP, "renaming"),
        ] {
            let path = config.join(file);
            let text = fs::read_to_string(&path)?;
            let edited = text.replace(&format!("\"{from}\""), &format!("\"{to}\""));
            ensure!(edited != text, "{file}");
            fs::write(path, edited)?;
        }
        Ok(())
    })?;
    for (code, key, name, expected) in [
        (GET_TOPIC_CONFIG, "topic", TOPIC, 17),
        (GET_TOPIC_CONFIG, "topic", "renamed", 0),
    ] {
        let answer = world.connection.call(code, &[(key, name)], &[])?;
        ensure!(answer.code == expected, "{name}: {answer:?}");
    }
    let answer = world.connection.call(GET_ALL_GROUPS, &[], &[])?.ok()?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(body.contains("renaming") && !body.contains(GROUP), "{body}");
    Ok(())
}

/// Leaves no space on a disk, not even what is freed meanwhile, until it is dropped.
struct Filled {
    stop: Arc<AtomicBool>,
    filler: Option<JoinHandle<()>>,
    ballast: PathBuf,
}

impl Filled {
    fn fill(disk: &Path) -> Result<Self> {
        let ballast = disk.join("ballast");
        let mut file = fs::File::create(&ballast)?;
        while file.write_all(&[0; 4096]).is_ok() {}
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let filler = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                while file.write_all(&[0; 4096]).is_ok() {}
                thread::sleep(Duration::from_millis(2));
            }
        });
        Ok(Self {
            stop,
            filler: Some(filler),
            ballast,
        })
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(filler) = self.filler.take() {
            let _ = filler.join();
        }
        let _ = fs::remove_file(&self.ballast);
    }
}

#[test]
fn a_full_disk_is_told_and_commits_are_durable_again_afterwards() -> Result<()> {
    const WINDOW: u32 = 500;
    /// Rows of many times the size of what RocksDB reserves for its log.
    const WINDOWS: i64 = 2_000;
    let dir = tempfile::tempdir()?;
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 24)? else {
        return Ok(());
    };
    let (store, log) = (disk.0.join("store"), disk.0.join("store/commitlog"));
    let mut world = World::start(&[
        ("storePathRootDir", &store.display().to_string()),
        ("storePathCommitLog", &log.display().to_string()),
        ("mappedFileSizeCommitLog", "2097152"),
        ("maxMessageSize", "65536"),
    ])?;
    let filled = Filled::fill(&disk.0)?;
    let mut refused = None;
    for window in 0..WINDOWS {
        let mut frames = Vec::new();
        for queue in 0..WINDOW {
            frames.extend(world.commit_frame(queue, window));
        }
        world.connection.write(&frames)?;
        for _ in 0..WINDOW {
            let answer = world.connection.read()?;
            if answer.code != 0 {
                refused = Some(answer);
            }
        }
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.context("no commit was refused")?;
    ensure!(refused.remark.contains("not on the disk"), "{refused:?}");
    let http = world.cluster.broker.http.clone();
    patiently("the broker says so", SOON, || {
        let (status, text) = http_get(&http, "/readyz")?;
        let told = status == 503 && text.contains("consumer offsets are not durable");
        Ok(told.then_some(()))
    })?;
    // In memory a refused commit counts all the same.
    let frame = world.commit_frame(3, 150);
    world.connection.write(&frame)?;
    world.connection.read()?;
    ensure!(world.committed(3)? == 150);
    drop(filled);
    patiently("commits are durable again", SOON, || {
        Ok((http_get(&http, "/readyz")?.0 == 200).then_some(()))
    })?;
    world.commit(2, 160)?;
    world.kill_and_restart()?;
    let found = (world.committed(2)?, world.committed(3)?);
    ensure!(found == (160, 150), "{found:?}");
    Ok(())
}
