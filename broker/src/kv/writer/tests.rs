use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A disk in memory whose syncs the test lets happen, one by one, and makes fail.
struct Slow {
    permits: Receiver<bool>,
    rounds: Sender<Vec<Change>>,
}

impl Disk for Arc<Mutex<Slow>> {
    fn write(&mut self, changes: &[Change]) -> Result<(), KvError> {
        let slow = self.lock();
        slow.rounds.send(changes.to_vec()).unwrap();
        if slow.permits.recv().unwrap() {
            return Ok(());
        }
        Err(KvError::Write {
            path: "/store/kv".into(),
            reason: "no space left".to_owned(),
        })
    }

    fn read(&self, range: &Range) -> Result<Vec<Row>, KvError> {
        Ok(vec![(range.from.clone(), Box::default())])
    }
}

struct World {
    kv: Kv,
    permits: Sender<bool>,
    rounds: Receiver<Vec<Change>>,
}

fn world() -> World {
    let (permits, granted) = channel();
    let (begun, rounds) = channel();
    let slow = Arc::new(Mutex::new(Slow {
        permits: granted,
        rounds: begun,
    }));
    let again = Arc::clone(&slow);
    let reopen: Opener = Box::new(move || Ok(Box::new(Arc::clone(&again))));
    let kv = Kv::start(Box::new(slow), reopen).unwrap();
    World {
        kv,
        permits,
        rounds,
    }
}

fn put(key: &str, value: &str) -> Change {
    Change {
        family: Family::Offsets,
        key: key.as_bytes().into(),
        value: Some(value.as_bytes().into()),
    }
}

fn sorted(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by(|one, other| one.key.cmp(&other.key));
    changes
}

/// Submits a change somebody waits for.
fn waiting(kv: &Kv, change: Change) -> Receiver<bool> {
    let (done, outcome) = channel();
    kv.submit_then([change], move |written| done.send(written.is_ok()).unwrap());
    outcome
}

#[test]
fn what_comes_during_a_sync_shares_the_next_one() {
    let World {
        kv,
        permits,
        rounds,
    } = world();
    let first = waiting(&kv, put("a", "1"));
    assert_eq!(rounds.recv().unwrap(), [put("a", "1")]);
    let others = ["b", "c", "d"].map(|key| waiting(&kv, put(key, "1")));
    let changed_again = waiting(&kv, put("b", "2"));
    kv.submit([put("e", "1")]);
    assert!(first.try_recv().is_err() && changed_again.try_recv().is_err());
    permits.send(true).unwrap();
    assert!(first.recv().unwrap());
    let second = sorted(rounds.recv().unwrap());
    assert_eq!(
        second,
        [put("b", "2"), put("c", "1"), put("d", "1"), put("e", "1")]
    );
    permits.send(true).unwrap();
    assert!(others.iter().all(|other| other.recv().unwrap()));
    assert!(changed_again.recv().unwrap());
}

#[test]
fn what_nobody_waits_for_is_written_by_itself() {
    let World {
        kv,
        permits,
        rounds,
    } = world();
    kv.submit([put("a", "1")]);
    assert_eq!(rounds.recv().unwrap(), [put("a", "1")]);
    permits.send(true).unwrap();
    assert!(kv.shutdown().is_ok());
}

#[test]
fn a_failure_is_told_and_what_was_not_written_is_tried_again() {
    let World {
        kv,
        permits,
        rounds,
    } = world();
    let first = waiting(&kv, put("a", "1"));
    rounds.recv().unwrap();
    permits.send(false).unwrap();
    assert!(!first.recv().unwrap());
    assert!(kv.failure().unwrap().to_string().contains("no space left"));
    // Nobody waits while the disk cannot be written, but nothing is forgotten.
    assert!(kv.store([put("b", "1")]).is_err());
    kv.submit([put("a", "2")]);
    let again = sorted(rounds.recv().unwrap());
    assert_eq!(again, [put("a", "2"), put("b", "1")]);
    permits.send(true).unwrap();
    permits.send(true).unwrap();
    while kv.failure().is_some() {
        std::thread::yield_now();
    }
    assert!(kv.store([put("c", "1")]).is_ok());
}

#[test]
fn stopping_writes_what_is_left_and_refuses_what_comes_later() {
    let World {
        kv,
        permits,
        rounds,
    } = world();
    kv.submit([put("a", "1")]);
    permits.send(true).unwrap();
    kv.shutdown().unwrap();
    assert_eq!(rounds.recv().unwrap(), [put("a", "1")]);
    assert!(matches!(
        *kv.store([put("b", "1")]).unwrap_err(),
        KvError::Stopping
    ));
}

#[test]
fn a_database_that_cannot_be_opened_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kv");
    let start = Kv::open(&path).unwrap();
    start.kv().store([put("a", "1")]).unwrap();
    let second = Kv::open(&path).err().unwrap().to_string();
    assert!(second.contains("kv: "), "{second}");
    drop(start);
    std::fs::write(path.join("CURRENT"), "MANIFEST-000000\n").unwrap();
    let text = Kv::open(&path).err().unwrap().to_string();
    assert!(
        text.contains(&path.display().to_string()) && text.contains("delete this directory"),
        "{text}"
    );
}

#[test]
fn a_page_shows_what_was_changed_before_in_the_order_of_keys() {
    let directory = tempfile::tempdir().unwrap();
    let timer = |key: u8, value: Option<&str>| Change {
        family: Family::Timers,
        key: Box::new([key]),
        value: value.map(|text| text.as_bytes().into()),
    };
    let page = |kv: &Kv, from: u8, to: Option<u8>, limit| {
        let range = Range {
            family: Family::Timers,
            from: Box::new([from]),
            to: to.map(|to| [to].into()),
            limit,
        };
        let rows = kv.read(range).unwrap();
        rows.iter().map(|(key, _)| key[0]).collect::<Vec<_>>()
    };
    let start = Kv::open(directory.path()).unwrap();
    let kv = start.kv();
    kv.submit((0..100).rev().map(|key| timer(key, Some("v"))));
    kv.submit([timer(12, None)]);
    assert_eq!(page(kv, 10, None, 4), [10, 11, 13, 14]);
    assert_eq!(page(kv, 10, Some(13), 4), [10, 11]);
    assert!(page(kv, 200, None, 4).is_empty());
    kv.shutdown().unwrap();
    let late = kv.read(Range {
        family: Family::Timers,
        from: Box::default(),
        to: None,
        limit: 1,
    });
    assert!(matches!(*late.unwrap_err(), KvError::Stopping));
    drop(start);
    // It is there at the next start, but not in memory.
    let mut start = Kv::open(directory.path()).unwrap();
    assert!(start.take(Family::Timers).is_empty());
    assert_eq!(page(start.kv(), 97, None, 4), [97, 98, 99]);
}
