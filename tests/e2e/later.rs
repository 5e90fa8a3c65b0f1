//! `kill -9` while messages wait for their time, for the end of their transaction, or in their order,
//! while they are sent again and go into several queues; `scripts/crash.sh` does the same a hundred times
//! for each.

use anyhow::{Result, ensure};
use tests::crash::{Kind, KindTrial, Moments, Order, Repeats, Spread, Stop, Timers, Transactions};

const KILLS: usize = 3;

fn survives<K: Kind>() -> Result<()> {
    let seed = rand::random();
    let mut moments = Moments::new(seed);
    let mut trial = KindTrial::<K>::new(seed, &[])?;
    for _ in 0..KILLS {
        trial.blow(&mut moments, false)?;
    }
    for stop in Stop::ALL {
        trial.stop_and_start(&mut moments, stop)?;
    }
    trial.blow(&mut moments, true)?;
    trial.settle()?;
    let verdict = trial.verdict();
    ensure!(verdict.count() == 0, "{}, seed {seed}: {verdict}", K::NAME);
    let (delivered, _) = trial.delivered();
    ensure!(
        delivered > 0,
        "{}, seed {seed}: nothing was delivered",
        K::NAME
    );
    Ok(())
}

#[test]
fn delayed_messages_come_once_and_in_time_over_kills() -> Result<()> {
    survives::<Timers>()
}

#[test]
fn transactions_end_once_over_kills() -> Result<()> {
    survives::<Transactions>()
}

#[test]
fn message_groups_keep_their_order_over_kills() -> Result<()> {
    survives::<Order>()
}

#[test]
fn messages_sent_again_are_stored_once_over_kills() -> Result<()> {
    survives::<Repeats>()
}

#[test]
fn messages_of_batches_and_light_queues_are_in_all_their_queues_over_kills() -> Result<()> {
    survives::<Spread>()
}
