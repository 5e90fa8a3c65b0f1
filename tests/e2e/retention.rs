//! Old messages go, and nobody trips over it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use common::clock::{Clock, SystemClock, local_hour};
use tests::{Cluster, Connection, Deadline, patiently, records};

use crate::SOON;
use crate::kinds::{property, send};
use crate::transactions::{half, printed};

const TOPIC: &str = "aging";
const MESSAGES: i64 = 500;
const SMALL_FILES: [(&str, &str); 5] = [
    ("mappedFileSizeCommitLog", "1048576"),
    ("maxMessageSize", "65536"),
    ("mappedFileSizeConsumeQueue", "400"),
    ("cleanResourceInterval", "20"),
    ("deleteCommitLogFilesInterval", "0"),
];

fn cluster(more: &[(&str, &str)]) -> Result<Cluster> {
    let cluster = Cluster::with(&[&SMALL_FILES, more].concat())?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    connection.create_topic(TOPIC, 2)?;
    for n in 0..MESSAGES {
        connection.send(TOPIC, 0, &body(n))?.ok()?;
    }
    Ok(cluster)
}

fn body(n: i64) -> Vec<u8> {
    let mut body = format!("{n}/").into_bytes();
    body.resize(16 << 10, b'.');
    body
}

/// The files of a log, oldest first.
fn log_files(store: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(store.join("commitlog"))? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// Makes files look as if nobody had written them for 73 hours.
fn age(files: &[PathBuf]) -> Result<()> {
    let old = SystemClock::new().now().0 - 73 * 3_600_000;
    let old = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(old)?);
    for file in files {
        File::options().write(true).open(file)?.set_modified(old)?;
    }
    Ok(())
}

fn min_offset(connection: &mut Connection) -> Result<i64> {
    let fields = [("topic", TOPIC), ("queueId", "0")];
    connection.call(31, &fields, &[])?.ok()?.number("offset")
}

/// Reads the queue from its beginning again and again until told to stop, and once more.
fn read_on(address: &str, stop: &AtomicBool) -> Result<()> {
    let mut connection = Connection::open(address)?;
    let mut last_round = false;
    loop {
        let mut offset = 0;
        loop {
            let answer = connection.pull(TOPIC, 0, offset)?;
            let next = answer.number("nextBeginOffset")?;
            match answer.code {
                0 => {
                    for record in records(&answer.body)? {
                        ensure!(record.body == body(record.offset), "{}", record.offset);
                    }
                }
                // Found nothing yet, or the queue begins later.
                20 | 21 => {}
                19 => break,
                code => anyhow::bail!("pull at {offset}: code {code}: {}", answer.remark),
            }
            ensure!(next > offset, "{next} after {offset}: {answer:?}");
            offset = next;
        }
        ensure!(offset == MESSAGES, "the queue ends at {offset}");
        if last_round {
            return Ok(());
        }
        last_round = stop.load(Ordering::SeqCst);
    }
}

#[test]
fn expired_messages_go_while_a_consumer_reads_them() -> Result<()> {
    let mut cluster = cluster(&[])?;
    let files = log_files(&cluster.broker.store)?;
    ensure!(files.len() > 7, "{files:?}");
    let kept = files.len() - 3;
    let mut connection = Connection::open(&cluster.broker.address)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let reader = scope.spawn(|| read_on(&cluster.broker.address, &stop));
        let deleted = age(&files[..kept]).and_then(|()| {
            patiently("expired files go", SOON, || {
                Ok(files[..kept]
                    .iter()
                    .all(|file| !file.exists())
                    .then_some(()))
            })
        });
        stop.store(true, Ordering::SeqCst);
        deleted.and(reader.join().unwrap())
    })?;
    ensure!(files[kept..].iter().all(|file| file.exists()));

    let min = patiently("the queue follows", SOON, || {
        let min = min_offset(&mut connection)?;
        Ok((min > 0).then_some(min))
    })?;
    let expected: Vec<_> = (min..MESSAGES).map(body).collect();
    ensure!(connection.bodies(TOPIC, 0, min)? == expected);
    let before = connection.pull(TOPIC, 0, min - 1)?;
    ensure!(
        before.code == 21 && before.number("nextBeginOffset")? == min,
        "{before:?}"
    );
    let fields = [("topic", TOPIC), ("queueId", "0"), ("timestamp", "0")];
    let found = connection.call(29, &fields, &[])?.ok()?;
    ensure!(found.number("offset")? == min, "{found:?}");
    let queue = cluster
        .broker
        .store
        .join("consumequeue")
        .join(TOPIC)
        .join("0");
    let first = format!("{:020}", min / 20 * 400);
    patiently("files of the queue follow", SOON, || {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&queue)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok((names.iter().min() == Some(&first)).then_some(()))
    })?;

    cluster.broker.kill_and_restart()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    ensure!(min_offset(&mut connection)? == min);
    ensure!(connection.bodies(TOPIC, 0, min)? == expected);
    let next = connection.send(TOPIC, 0, b"next")?.ok()?;
    ensure!(next.number("queueOffset")? == MESSAGES, "{next:?}");
    Ok(())
}

#[test]
fn without_continuous_deletion_files_wait_for_their_hour_or_a_request() -> Result<()> {
    /// Time in which the broker looks for expired files many times.
    const MANY_LOOKS: Duration = Duration::from_millis(400);
    let hour = local_hour(SystemClock::new().now());
    // Far from now, also if the hour ends meanwhile.
    let other_hour = ((hour + 12) % 24).to_string();
    let mut cluster = cluster(&[
        ("deleteContinuously", "false"),
        ("deleteWhen", &other_hour),
        ("diskMaxUsedSpaceRatio", "95"),
    ])?;
    let files = log_files(&cluster.broker.store)?;
    age(&files[..1])?;
    let deadline = Deadline::after(MANY_LOOKS);
    while !deadline.passed() {
        ensure!(files[0].exists(), "deleted though it is not the hour");
        std::thread::yield_now();
    }
    for code in [306, 329] {
        let mut connection = Connection::open(&cluster.broker.address)?;
        let answer = connection.call(code, &[], &[])?.ok()?;
        ensure!(answer.body.is_empty());
    }
    patiently("deleted on request", SOON, || {
        Ok((!files[0].exists()).then_some(()))
    })?;

    age(&files[1..2])?;
    let now = format!("{hour};{}", (hour + 1) % 24);
    cluster.broker.settings.insert("deleteWhen".to_owned(), now);
    cluster.broker.kill_and_restart()?;
    patiently("deleted in its hour", SOON, || {
        Ok((!files[1].exists()).then_some(()))
    })?;
    ensure!(files[2].exists());
    Ok(())
}

/// A broker that has been off for days finds everything expired, and does not delete what is still to be
/// delivered.
#[test]
fn files_go_once_nothing_waits_in_them() -> Result<()> {
    let mut cluster = Cluster::with(
        &[
            &SMALL_FILES[..],
            &[
                ("messageDelayLevel", "1s 2s"),
                ("timerPrecisionMs", "100"),
                ("timerRollWindowSlot", "20"),
                ("transactionTimeOut", "100"),
                ("transactionCheckInterval", "1500"),
                ("transactionCheckMax", "1000"),
            ],
        ]
        .concat(),
    )?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    connection.create_topic(TOPIC, 2)?;
    for (properties, text) in [
        (property("DELAY", "2"), "level"),
        (property("TIMER_DELAY_MS", "4000"), "timer"),
        (half("T", ""), "transaction"),
    ] {
        send(&mut connection, TOPIC, &properties, text)?.ok()?;
    }
    for n in 0..MESSAGES {
        connection.send(TOPIC, 1, &body(n))?.ok()?;
    }
    cluster.broker.process.terminate()?;
    ensure!(cluster.broker.process.wait_exit(SOON)?.success());
    let files = log_files(&cluster.broker.store)?;
    age(&files)?;
    cluster.broker.start_again()?;
    let mut connection = Connection::open(&cluster.broker.address)?;
    let arrived = |connection: &mut Connection, expected: &[&str]| {
        patiently("they come", SOON, || {
            let bodies = connection.bodies(TOPIC, 0, 0)?;
            let known = bodies.iter().map(|body| String::from_utf8_lossy(body));
            Ok(known.eq(expected.iter().copied()).then_some(()))
        })
    };
    arrived(&mut connection, &["level", "timer"])?;
    patiently("the half message is moved on", SOON, || {
        Ok((!files[0].exists()).then_some(()))
    })?;
    printed(&["commit", "-b", &cluster.broker.address, "T"])?;
    arrived(&mut connection, &["level", "timer", "transaction"])
}
