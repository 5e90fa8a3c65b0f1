//! A disk that fails: what it did to no message is acknowledged, what was acknowledged stays, and it is
//! said why nothing more is taken.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tests::crash::{Extent, Load, Moments, Trial};
use tests::{Answer, CONSUMER_GROUP, Cluster, Connection, Record, http_get, patiently, records};

use crate::SOON;
use crate::failing_disk::{ALWAYS, Call, Error, FailingDisk};
use crate::kill::clean;

const TOPIC: &str = "fails";

/// Timers that look often: what is not repeated within a moment is not repeated.
const QUICK: [(&str, &str); 3] = [
    ("flushIntervalCommitLog", "10"),
    ("flushIntervalConsumeQueue", "10"),
    ("mappedFileSizeCommitLog", "1048576"),
];
const SMALL: (&str, &str) = ("maxMessageSize", "65536");
const SYNC: (&str, &str) = ("flushDiskType", "SYNC_FLUSH");

struct Fixture {
    cluster: Cluster,
    disk: FailingDisk,
    connection: Connection,
    /// What was acknowledged, in order.
    stored: Vec<Vec<u8>>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    /// A broker on a disk that works so far, with some messages.
    fn new(settings: &[(&str, &str)]) -> Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let Some(disk) = FailingDisk::new(dir.path())? else {
            return Ok(None);
        };
        let mut all = QUICK.to_vec();
        all.push(SMALL);
        all.extend(settings);
        let cluster = Cluster::with_environment(&all, &disk.environment)?;
        let mut connection = Connection::open(&cluster.broker.address)?;
        connection.create_topic(TOPIC, 1)?;
        let mut fixture = Self {
            cluster,
            disk,
            connection,
            stored: Vec::new(),
            _dir: dir,
        };
        fixture.store(50)?;
        Ok(Some(fixture))
    }

    fn body(&self) -> Vec<u8> {
        let mut body = format!("{}/", self.stored.len()).into_bytes();
        body.resize(body.len() + self.stored.len() * 37 % 900, b'.');
        body
    }

    /// Sends messages that have to be taken.
    fn store(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let body = self.body();
            self.connection.send(TOPIC, 0, &body)?.ok()?;
            self.stored.push(body);
        }
        Ok(())
    }

    /// Sends `count` messages at once, none of which may be said to be stored.
    fn none_is_promised(&mut self, count: usize) -> Result<()> {
        let mut frames = Vec::new();
        for _ in 0..count {
            frames.extend(
                self.connection
                    .send_frame(TOPIC, 0, "", b"not to be promised"),
            );
        }
        self.connection.write(&frames)?;
        for _ in 0..count {
            let answer = self.connection.read()?;
            // 10, 11 and 12 mean stored as well, with one thing or another still to come.
            ensure!(matches!(answer.code, 1 | 14), "{answer:?}");
            ensure!(!answer.remark.is_empty(), "{answer:?}");
        }
        Ok(())
    }

    /// Sends until one is refused, and gives that answer.
    fn store_until_refused(&mut self) -> Result<Answer> {
        const MOST: usize = 20_000;
        for _ in 0..MOST {
            let body = self.body();
            let answer = self.connection.send(TOPIC, 0, &body)?;
            if answer.code != 0 {
                return Ok(answer);
            }
            self.stored.push(body);
        }
        bail!("{MOST} messages were taken")
    }

    /// The messages with the keys `key0` and so on, up to `end`, can be looked up.
    fn keys_are_found(&mut self, end: u32) -> Result<()> {
        for number in 0..end {
            let key = format!("key{number}");
            let fields = [
                ("topic", TOPIC),
                ("key", &key),
                ("maxNum", "8"),
                ("beginTimestamp", "0"),
                ("endTimestamp", "9223372036854775807"),
            ];
            let found = records(&self.connection.call(12, &fields, &[])?.ok()?.body)?;
            let is_it = |record: &Record| record.body == number.to_string().as_bytes();
            ensure!(
                found.len() == 1 && found.iter().all(is_it),
                "{key}: {found:?}"
            );
        }
        Ok(())
    }

    /// Commits an offset of the group.
    fn commit(&mut self, offset: i64) -> Result<Answer> {
        let offset = offset.to_string();
        let fields = [
            ("consumerGroup", CONSUMER_GROUP),
            ("topic", TOPIC),
            ("queueId", "0"),
            ("commitOffset", &offset),
        ];
        self.connection.call(15, &fields, &[])
    }

    /// The offset of the group.
    fn committed(&mut self) -> Result<i64> {
        let fields = [
            ("consumerGroup", CONSUMER_GROUP),
            ("topic", TOPIC),
            ("queueId", "0"),
        ];
        self.connection
            .call(14, &fields, &[])?
            .ok()?
            .number("offset")
    }

    /// What was acknowledged can be read, and whatever comes behind it.
    fn all_there(&mut self) -> Result<()> {
        let found = self.connection.bodies(TOPIC, 0, 0)?;
        ensure!(
            found.starts_with(&self.stored),
            "{} of {} messages",
            found.len(),
            self.stored.len()
        );
        Ok(())
    }

    /// Nothing is taken and it is said why; what is there can be read.
    fn is_read_only(&mut self, file: &str) -> Result<()> {
        let again = self.connection.send(TOPIC, 0, b"refused too")?;
        is_refused(&again, file)?;
        self.all_there()?;
        let (code, body) = http_get(&self.cluster.broker.http, "/readyz")?;
        ensure!(code == 503 && body.contains(file), "{code} {body}");
        let (code, _) = http_get(&self.cluster.broker.http, "/healthz")?;
        ensure!(code == 200, "alive is not ready: {code}");
        Ok(())
    }

    /// The disk is a new one; everything acknowledged is there, and sending goes on.
    fn restart_on_a_disk_that_works(&mut self) -> Result<()> {
        self.disk.work()?;
        self.cluster.broker.kill_and_restart()?;
        self.connection = Connection::open(&self.cluster.broker.address)?;
        self.all_there()?;
        self.stored = self.connection.bodies(TOPIC, 0, 0)?;
        self.store(20)?;
        self.all_there()
    }
}

fn is_refused(answer: &Answer, file: &str) -> Result<()> {
    ensure!(
        answer.code == 14 && answer.remark.contains(file),
        "not a refusal that names {file}: {answer:?}"
    );
    Ok(())
}

const FIRST_SEGMENT: &str = "commitlog/00000000000000000000";

#[test]
fn a_failed_sync_of_the_log_acknowledges_nothing_and_is_not_repeated() -> Result<()> {
    let Some(mut fixture) = Fixture::new(&[SYNC])? else {
        return Ok(());
    };
    fixture
        .disk
        .fail(Call::Sync, "commitlog/", Error::Io, 0, 1)?;
    fixture.none_is_promised(32)?;
    fixture.is_read_only(FIRST_SEGMENT)?;
    // Dozens of the flush thread's and the index thread's intervals.
    std::thread::sleep(Duration::from_millis(500));
    fixture.is_read_only(FIRST_SEGMENT)?;
    let found = fixture.connection.bodies(TOPIC, 0, 0)?;
    ensure!(
        found.len() == fixture.stored.len(),
        "consumers see what is not on the disk"
    );
    let syncs = fixture.disk.matched()?;
    ensure!(
        syncs == 1,
        "the log was synced {syncs} times, the first failed"
    );
    fixture.restart_on_a_disk_that_works()
}

#[test]
fn a_failed_sync_under_async_flush_ends_sending_too() -> Result<()> {
    let Some(mut fixture) = Fixture::new(&[])? else {
        return Ok(());
    };
    fixture
        .disk
        .fail(Call::Sync, "commitlog/", Error::Io, 0, 1)?;
    let refused = fixture.store_until_refused()?;
    is_refused(&refused, FIRST_SEGMENT)?;
    fixture.is_read_only(FIRST_SEGMENT)?;
    std::thread::sleep(Duration::from_millis(200));
    let syncs = fixture.disk.matched()?;
    ensure!(
        syncs == 1,
        "the log was synced {syncs} times, the first failed"
    );
    fixture.restart_on_a_disk_that_works()
}

/// An end in order after a failed sync must not pass for one after which nothing needs to be recovered.
#[test]
fn an_orderly_end_after_a_failed_sync_is_none() -> Result<()> {
    let Some(mut fixture) = Fixture::new(&[SYNC])? else {
        return Ok(());
    };
    fixture
        .disk
        .fail(Call::Sync, "commitlog/", Error::Io, 0, 1)?;
    fixture.none_is_promised(8)?;
    let broker = &mut fixture.cluster.broker;
    broker.process.terminate()?;
    let status = broker.process.wait_exit(SOON)?;
    ensure!(status.code() == Some(1), "ended with {status}");
    ensure!(
        broker.store.join("abort").exists(),
        "the abort file is gone"
    );
    fixture.restart_on_a_disk_that_works()
}

#[test]
fn a_failed_write_of_the_log_acknowledges_nothing() -> Result<()> {
    let Some(mut fixture) = Fixture::new(&[SYNC])? else {
        return Ok(());
    };
    fixture
        .disk
        .fail(Call::Write, "commitlog/", Error::Io, 0, 1)?;
    fixture.none_is_promised(8)?;
    fixture.is_read_only(FIRST_SEGMENT)?;
    fixture.restart_on_a_disk_that_works()
}

#[test]
fn a_write_of_the_log_without_room_acknowledges_nothing_and_sending_resumes() -> Result<()> {
    let Some(mut fixture) = Fixture::new(&[SYNC])? else {
        return Ok(());
    };
    fixture
        .disk
        .fail(Call::Write, "commitlog/", Error::NoSpace, 0, ALWAYS)?;
    fixture.none_is_promised(8)?;
    let again = fixture.connection.send(TOPIC, 0, b"refused too")?;
    is_refused(&again, FIRST_SEGMENT)?;
    fixture.all_there()?;
    fixture.disk.work()?;
    fixture.store(50)?;
    fixture.all_there()?;
    fixture.restart_on_a_disk_that_works()
}

#[test]
fn short_writes_are_carried_on() -> Result<()> {
    let Some(mut fixture) = Fixture::new(&[SYNC])? else {
        return Ok(());
    };
    fixture
        .disk
        .fail(Call::Write, "/store/", Error::Short, 0, ALWAYS)?;
    fixture.store(300)?;
    fixture.all_there()?;
    ensure!(fixture.disk.matched()? > 600, "no write was cut short");
    fixture.restart_on_a_disk_that_works()
}

#[test]
fn a_segment_that_cannot_be_reserved_refuses_sends_until_it_can() -> Result<()> {
    let Some(mut fixture) = Fixture::new(&[])? else {
        return Ok(());
    };
    fixture
        .disk
        .fail(Call::Reserve, "commitlog/", Error::NoSpace, 0, ALWAYS)?;
    let refused = fixture.store_until_refused()?;
    ensure!(
        refused.code == 14 && refused.remark.contains("disk is full"),
        "{refused:?}"
    );
    fixture.all_there()?;
    let (code, body) = http_get(&fixture.cluster.broker.http, "/readyz")?;
    ensure!(code == 503 && body.contains("disk"), "{code} {body}");
    fixture.disk.work()?;
    patiently("sending resumes", SOON, || {
        let body = fixture.body();
        let taken = fixture.connection.send(TOPIC, 0, &body)?.code == 0;
        if taken {
            fixture.stored.push(body);
        }
        Ok(taken.then_some(()))
    })?;
    fixture.store(50)?;
    fixture.restart_on_a_disk_that_works()
}

/// Indexes are made from the log again: their disk may fail as it likes.
fn indexes_may_fail(call: Call, path: &str, error: Error) -> Result<()> {
    let Some(mut fixture) = Fixture::new(&[])? else {
        return Ok(());
    };
    fixture.disk.fail(call, path, error, 0, ALWAYS)?;
    fixture.store(500)?;
    patiently("it is tried", SOON, || {
        Ok((fixture.disk.matched()? > 2).then_some(()))
    })?;
    fixture.store(50)?;
    fixture.all_there()?;
    let (code, body) = http_get(&fixture.cluster.broker.http, "/healthz")?;
    ensure!(code == 200, "{code} {body}");
    fixture.restart_on_a_disk_that_works()
}

#[test]
fn failing_writes_of_consume_queues_lose_nothing() -> Result<()> {
    indexes_may_fail(Call::Write, "/consumequeue/", Error::Io)
}

#[test]
fn consume_queues_without_room_lose_nothing() -> Result<()> {
    indexes_may_fail(Call::Write, "/consumequeue/", Error::NoSpace)
}

/// A checkpoint that could not be written is an older one: recovery begins further in front.
#[test]
fn a_checkpoint_that_cannot_be_written_loses_nothing() -> Result<()> {
    for call in [Call::Write, Call::Sync] {
        let Some(mut fixture) = Fixture::new(&[])? else {
            return Ok(());
        };
        fixture
            .disk
            .fail(call, "/checkpoint", Error::Io, 0, ALWAYS)?;
        fixture.store(100)?;
        // It is written at the end, whenever it was before.
        let broker = &mut fixture.cluster.broker;
        broker.process.terminate()?;
        broker.process.wait_exit(SOON)?;
        ensure!(fixture.disk.matched()? > 0, "nothing was tried");
        fixture.restart_on_a_disk_that_works()?;
    }
    Ok(())
}

/// Keys wait in memory while their files cannot be written, and are made from the log again.
#[test]
fn keys_are_found_while_their_files_fail_and_afterwards() -> Result<()> {
    const KEYS: u32 = 200;
    let small = [("maxHashSlotNum", "10"), ("maxIndexNum", "50")];
    let Some(mut fixture) = Fixture::new(&small)? else {
        return Ok(());
    };
    fixture
        .disk
        .fail(Call::Write, "/index/", Error::Io, 0, ALWAYS)?;
    for number in 0..KEYS {
        let connection = &mut fixture.connection;
        let properties = format!("KEYS\u{1}key{number}\u{2}");
        let body = number.to_string();
        let frame = connection.send_frame(TOPIC, 0, &properties, body.as_bytes());
        connection.write(&frame)?;
        connection.read()?.ok()?;
        fixture.stored.push(body.into_bytes());
    }
    patiently("it is tried", SOON, || {
        Ok((fixture.disk.matched()? > 2).then_some(()))
    })?;
    fixture.keys_are_found(KEYS)?;
    fixture.restart_on_a_disk_that_works()?;
    fixture.keys_are_found(KEYS)
}

/// An offset is answered for once it is on the disk, or not at all; messages have nothing to do with it.
#[test]
fn offsets_that_cannot_be_written_are_not_confirmed() -> Result<()> {
    for (call, error) in [
        (Call::Write, Error::NoSpace),
        (Call::Write, Error::Io),
        (Call::Sync, Error::Io),
    ] {
        let Some(mut fixture) = Fixture::new(&[])? else {
            return Ok(());
        };
        fixture.connection.join(&[TOPIC])?;
        fixture.commit(10)?.ok()?;
        fixture.disk.fail(call, "/kv/", error, 0, ALWAYS)?;
        let refused = fixture.commit(20)?;
        ensure!(refused.code != 0, "{call:?} {error:?}: {refused:?}");
        ensure!(fixture.disk.matched()? > 0, "nothing was tried");
        fixture.store(50)?;
        fixture.all_there()?;
        fixture.restart_on_a_disk_that_works()?;
        let kept = fixture.committed()?;
        ensure!(
            matches!(kept, 10 | 20),
            "{call:?} {error:?}: 10 was confirmed, 20 was not, it is {kept}"
        );
        fixture.connection.join(&[TOPIC])?;
        fixture.commit(30)?.ok()?;
        ensure!(fixture.committed()? == 30, "commits do not go on");
    }
    Ok(())
}

/// A topic is a row of the database, and now and then a line of a file for others to read.
#[test]
fn a_topic_that_is_acknowledged_on_a_failing_disk_is_kept() -> Result<()> {
    for (call, path, error) in [
        (Call::Write, "/kv/", Error::NoSpace),
        (Call::Sync, "/kv/", Error::Io),
        (Call::Write, "/config/", Error::NoSpace),
        (Call::Sync, "/config/", Error::Io),
        (Call::Rename, "/config/", Error::Io),
    ] {
        let what = || format!("{call:?} of {path} fails with {error:?}");
        let Some(mut fixture) = Fixture::new(&[])? else {
            return Ok(());
        };
        fixture.disk.fail(call, path, error, 0, ALWAYS)?;
        let acknowledged = fixture.connection.create_topic("second", 2).is_ok();
        ensure!(acknowledged == (path == "/config/"), "{}", what());
        fixture.store(20)?;
        fixture.restart_on_a_disk_that_works().with_context(what)?;
        if acknowledged {
            let (code, body) = http_get(&fixture.cluster.broker.http, "/api/v1/topics")?;
            ensure!(
                code == 200 && body.contains("\"second\""),
                "{}: {body}",
                what()
            );
        } else {
            fixture
                .connection
                .create_topic("second", 2)
                .with_context(what)?;
        }
    }
    Ok(())
}

/// Messages before and under a fault.
fn load(moments: &mut Moments, messages: u64) -> Load {
    Load {
        linger: Duration::ZERO,
        refusals: 200,
        ..moments.load(messages)
    }
}

/// The n-th call of each kind, on whatever file it falls, from the first one of a start on.
#[test]
fn the_nth_call_may_fail() -> Result<()> {
    const RUNS: u64 = 12;
    let seed = rand::random();
    let mut moments = Moments::new(seed);
    let dir = tempfile::tempdir()?;
    let Some(disk) = FailingDisk::new(dir.path())? else {
        return Ok(());
    };
    let mut trial = Trial::new(seed, &[SYNC, ("flushIntervalConsumeQueue", "20")])?;
    trial.kill(load(&mut moments, 500), &[])?;
    let mut failed = 0;
    for _ in 0..RUNS {
        let (call, most) = [
            (Call::Write, 150),
            (Call::Sync, 50),
            (Call::Reserve, 4),
            (Call::Rename, 6),
        ][usize::try_from(moments.number(4))?];
        let error = [Error::Io, Error::NoSpace][usize::try_from(moments.number(2))?];
        let skip = u32::try_from(moments.number(most))?;
        let times = [1, 3, ALWAYS][usize::try_from(moments.number(3))?];
        let what =
            format!("seed {seed}: {call:?} fails with {error:?} after {skip}, {times} times");
        run_with_a_fault(&mut trial, &disk, &mut moments, |disk| {
            disk.fail(call, "/store/", error, skip, times)
        })
        .with_context(|| what.clone())?;
        clean(&trial, seed).context(what)?;
        failed += u32::from(disk.matched()? > skip);
    }
    ensure!(failed > 0, "seed {seed}: no call failed in any run");
    trial.check(Extent::All)?;
    clean(&trial, seed)
}

fn run_with_a_fault(
    trial: &mut Trial,
    disk: &FailingDisk,
    moments: &mut Moments,
    fault: impl FnOnce(&FailingDisk) -> Result<()>,
) -> Result<()> {
    let broker = &mut trial.site.cluster.broker;
    broker.process.kill()?;
    broker.environment = disk.environment.clone();
    fault(disk)?;
    // Whether it starts depends on where the fault falls; if it does not, it ends by itself.
    if let Err(error) = broker.start_again() {
        let status = broker.process.wait_exit(SOON).context(error)?;
        ensure!(
            matches!(status.code(), Some(1 | 3)),
            "ended with {status}: {}",
            broker.process.errors()
        );
    } else {
        let address = broker.address.clone();
        load(moments, 1_000).until(&trial.books, &address, || broker.process.kill())?;
    }
    disk.work()?;
    broker.environment.clear();
    broker.start_again()?;
    trial.check(Extent::Recent)?;
    Ok(())
}
