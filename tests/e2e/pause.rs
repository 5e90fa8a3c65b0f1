//! A broker that stands still for seconds under load and then goes on: answers come late or say that
//! they promise nothing, and nothing promised is lost.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::crash::{Books, Extent, Moments, Trial};
use tests::{Process, patiently};

use crate::SOON;
use crate::kill::{clean, load};

/// Acknowledged messages before the first pause, about.
const MESSAGES: u64 = 1_000;
/// What has to follow on a pause: sent and consumed.
const AFTERWARDS: u64 = 300;
/// Short ones fall into single operations, the last is longer than any timer of a broker's disk.
const PAUSES_MS: [u64; 4] = [20, 150, 400, 3_000];

fn pauses(process: &mut Process, books: &Books) -> Result<()> {
    for pause in PAUSES_MS {
        process.pause()?;
        thread::sleep(Duration::from_millis(pause));
        let (acknowledged, seen) = (books.acknowledged(), books.seen());
        process.resume()?;
        patiently("producers and consumers go on", SOON, || {
            let goes_on = books.acknowledged() >= acknowledged + AFTERWARDS
                && books.seen() >= seen + AFTERWARDS;
            Ok(goes_on.then_some(()))
        })?;
    }
    process.kill()
}

#[test]
fn a_broker_that_was_stopped_for_seconds_keeps_what_it_promised() -> Result<()> {
    let seed = rand::random();
    let mut moments = Moments::new(seed);
    let settings = [
        ("flushDiskType", "SYNC_FLUSH"),
        ("syncFlushTimeout", "1000"),
    ];
    let mut trial = Trial::new(seed, &settings)?;
    let (books, broker) = (&trial.books, &mut trial.site.cluster.broker);
    let address = broker.address.clone();
    load(&mut moments, MESSAGES).until(books, &address, || pauses(&mut broker.process, books))?;
    clean(&trial, seed)?;
    trial.site.cluster.broker.start_again()?;
    trial.check(Extent::All)?;
    ensure!(trial.books.acknowledged() > 0, "nothing was sent");
    clean(&trial, seed)
}
