//! Crashes at every step of writing and of recovering, which leave any part of what was not synced.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::sim::{Image, Observer, Op};

/// What was just done, the disk then, and what was promised.
type Moment = (Op, Image, [u64; 2]);

/// Every moment of a disk.
struct Moments {
    files: Arc<SimFiles>,
    /// Acknowledged up to here, and on the disk up to here.
    promised: [AtomicU64; 2],
    seen: Mutex<Vec<Moment>>,
}

impl Observer for Moments {
    fn before(&self, _: &Op) {}

    fn after(&self, op: &Op) {
        let promised = [0, 1].map(|at: usize| self.promised[at].load(Ordering::SeqCst));
        let moment = (op.clone(), self.files.image(), promised);
        self.seen.lock().push(moment);
    }
}

impl Moments {
    fn of(files: &Arc<SimFiles>, promised: [u64; 2]) -> Arc<Self> {
        let moments = Arc::new(Self {
            files: Arc::clone(files),
            promised: promised.map(AtomicU64::new),
            seen: Mutex::default(),
        });
        files.observe(Some(moments.clone()));
        moments
    }

    fn promise(&self, bench: &Bench, acknowledged: u64) {
        self.promised[0].store(acknowledged, Ordering::SeqCst);
        let flushed = *bench.writer.flushed().borrow();
        self.promised[1].store(flushed, Ordering::SeqCst);
    }

    fn take(&self) -> Vec<Moment> {
        self.files.observe(None);
        std::mem::take(&mut *self.seen.lock())
    }
}

/// Two starts, each with messages, queries and syncs in between.
fn life() -> (Vec<Sent>, Vec<Moment>) {
    let mut bench = Bench::stepped(SimFiles::new());
    let moments = Moments::of(&bench.files, [0, 0]);
    let mut sent = Vec::new();
    for n in 0..44 {
        bench.clock.advance(Duration::from_millis(300));
        let (unique, keys) = (format!("U{n}"), format!("k{} k{}", n % 2, n % 5));
        sent.push(send(&bench, "T", [&unique, &keys, "t"], n * 5));
        moments.promise(&bench, sent[n].at.end());
        match n % 11 {
            3 | 8 => {
                found(&bench, &query("T", "k1"));
            }
            5 => bench.writer.0.index.sync_now().unwrap(),
            7 => bench.writer.flush().unwrap(),
            _ => {}
        }
        if n == 20 {
            bench = Bench::stepped(bench.shutdown());
        }
        moments.promise(&bench, sent[n].at.end());
    }
    (sent, moments.take())
}

/// Opens what a crash left, checks it, and gives what a crash while it was opened leaves.
fn reopen(files: Arc<SimFiles>, sent: &[Sent], promised: u64) -> Vec<Moment> {
    let moments = Moments::of(&files, [0, 0]);
    let bench = Bench::stepped(files);
    let moments = moments.take();
    let end = bench.reader.status().max_physical;
    assert!(end >= promised, "{end} is left of {promised}");
    let left = sent.partition_point(|sent| sent.at.end() <= end);
    check_queries(&bench, &sent[..left]);
    check_files(&bench.shutdown(), &sent[..left]);
    moments
}

#[test]
fn no_crash_loses_or_doubles_a_key() {
    let (sent, moments) = life();
    assert!(moments.len() > 200);
    let mut seed = 1_u32;
    let mut chance = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 16
    };
    for (number, (op, image, [acknowledged, flushed])) in moments.into_iter().enumerate() {
        println!("after {op:?}");
        let deeper = reopen(image.after_kill(), &sent, acknowledged);
        for (op, image, _) in deeper.into_iter().skip(number % 40).step_by(40) {
            println!("and in recovery after {op:?}");
            reopen(image.after_kill(), &sent, acknowledged);
        }
        let mut cut =
            |image: &Image| image.after_power_cut(|item| chance() as usize % (item.versions + 1));
        let deeper = reopen(cut(&image), &sent, flushed);
        for (op, image, _) in deeper.into_iter().skip(number % 40).step_by(40) {
            println!("and in recovery after {op:?}");
            reopen(cut(&image), &sent, flushed);
        }
    }
}
