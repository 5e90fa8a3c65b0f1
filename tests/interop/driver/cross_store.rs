//! One store directory, served in turn by Apache RocketMQ and by Arugula.
//!
//! Whatever one of them leaves, in order or killed, the other one serves as it was: every record
//! byte for byte under the same offset, every consumer offset, every table; and goes on writing.

mod damage;
mod files;
mod keys;
mod later;
mod model;
mod names;
mod offsets;
mod site;
mod timers;
mod turn;
mod wholes;
mod wire;

use std::path::Path;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tests::{Connection, Language};

use crate::available;
use damage::{Copy, lose_keys, tear_tables};
use files::check_units;
use later::Later;
use model::Model;
use site::{End, Maker, Site};
use turn::Turn;
use wholes::Wholes;

/// The seed of a run: `ARUGULA_CROSS_SEED`, or a new one each time.
fn seed() -> u64 {
    let given = std::env::var("ARUGULA_CROSS_SEED").ok();
    given
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| rand::rng().random())
}

/// How often the store goes to the reference and back; `ARUGULA_CROSS_ROUNDS` makes it longer.
fn rounds(otherwise: usize) -> usize {
    let given = std::env::var("ARUGULA_CROSS_ROUNDS").ok();
    given
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(otherwise)
}

/// A round's two ends. Four rounds in a row have all four.
fn ends(rounds: usize, rng: &mut StdRng) -> Vec<(End, End)> {
    let mut ends = Vec::new();
    while ends.len() < rounds {
        let mut four = [
            (End::Clean, End::Clean),
            (End::Clean, End::Kill),
            (End::Kill, End::Clean),
            (End::Kill, End::Kill),
        ];
        four.shuffle(rng);
        ends.extend(four);
    }
    ends.truncate(rounds);
    ends
}

/// A store that is handed back and forth.
struct Relay {
    site: Site,
    model: Model,
    later: Later,
    rng: StdRng,
    turns: usize,
    /// How the last turn ended.
    before: End,
    /// Some turn ended with a kill. The reference drops files of the key index then, and does not make all of them again.
    killed: bool,
}

impl Relay {
    fn turn(&mut self, maker: Maker, end: End) -> Result<()> {
        self.turn_with(maker, end, |_| Ok(()))
    }

    /// What a broker left in order is in order: every unit leads to its record, and `mqadmin` agrees.
    fn in_order(&self) -> Result<()> {
        check_units(&self.site.store(), &self.model)?;
        self.site.verify(self.killed)
    }

    /// Starts a broker; it has to serve everything that was there before.
    fn begin(&mut self, maker: Maker) -> Result<Connection> {
        let mut connection = self.site.start(maker)?;
        self.model.verify(&mut connection, maker, &mut self.rng)?;
        keys::verify(
            &self.model,
            &mut connection,
            maker,
            self.before,
            &mut self.rng,
        )?;
        Ok(connection)
    }

    /// `begun` is called with the store once the broker serves what was there before.
    fn turn_with(
        &mut self,
        maker: Maker,
        end: End,
        begun: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let mut connection = self.begin(maker)?;
        begun(&self.site.store())?;
        let mut turn = Turn {
            number: self.turns,
            connection: &mut connection,
            model: &mut self.model,
            rng: &mut self.rng,
        };
        turn.run()?;
        self.later
            .turn(turn.number, turn.connection, turn.model, end)?;
        let in_flight = match end {
            End::Clean => Vec::new(),
            End::Kill => {
                turn.model.settings_written(&self.site.store())?;
                turn.burst()?
            }
        };
        self.site.end(end)?;
        self.killed |= end == End::Kill;
        match end {
            End::Clean => self.in_order()?,
            End::Kill => self.later.killed(),
        }
        self.model.turn_ended(maker, end, in_flight);
        self.before = end;
        self.turns += 1;
        Ok(())
    }

    /// One of both delivers what still waits, and we serve all of it.
    fn finish(&mut self) -> Result<()> {
        let makers = [Maker::Apache, Maker::Arugula];
        let maker = makers[self.rng.random_range(0..2)];
        self.deliver(maker)?;
        self.look()
    }

    fn deliver(&mut self, maker: Maker) -> Result<()> {
        let mut connection = self.begin(maker)?;
        self.later.finish(&mut connection, &mut self.model)?;
        self.site.end(End::Clean)?;
        self.before = End::Clean;
        self.in_order()
    }

    fn look(&mut self) -> Result<()> {
        self.begin(Maker::Arugula)?;
        self.site.end(End::Clean)?;
        self.in_order()
    }
}

fn relay(settings: &[(&str, &str)], play: impl FnOnce(&mut Relay) -> Result<()>) -> Result<()> {
    if !available(Language::Java)? {
        return Ok(());
    }
    let seed = seed();
    eprintln!("ARUGULA_CROSS_SEED={seed}");
    let mut relay = Relay {
        site: Site::new(settings)?,
        model: Model::default(),
        later: Later::default(),
        rng: StdRng::seed_from_u64(seed),
        turns: 0,
        before: End::Clean,
        killed: false,
    };
    relay.site.seed_group(&turn::long_group())?;
    play(&mut relay).or_else(|error| {
        let turn = relay.turns;
        let kept = relay.site.keep();
        Err(error).with_context(|| {
            format!(
                "turn {turn}, ARUGULA_CROSS_SEED={seed}, everything is in {}",
                kept.display()
            )
        })
    })
}

#[test]
fn a_store_with_ext_units_and_checksums_goes_to_the_reference_and_back() -> Result<()> {
    let settings = [
        ("enableConsumeQueueExt", "true"),
        ("mappedFileSizeConsumeQueueExt", "4096"),
        ("enabledAppendPropCRC", "true"),
        // Each of them cuts off what has no checksum, or a wrong one, after a kill.
        ("forceVerifyPropCRC", "true"),
    ];
    relay(&settings, |relay| {
        relay.model.sealed = true;
        for (apache, arugula) in ends(rounds(2), &mut relay.rng) {
            relay.turn(Maker::Apache, apache)?;
            relay.turn(Maker::Arugula, arugula)?;
        }
        relay.finish()
    })
}

#[test]
fn a_store_goes_to_the_reference_and_back() -> Result<()> {
    relay(&[], |relay| {
        for (apache, arugula) in ends(rounds(4), &mut relay.rng) {
            relay.turn(Maker::Apache, apache)?;
            relay.turn(Maker::Arugula, arugula)?;
        }
        relay.finish()
    })
}

#[test]
fn whole_batches_and_light_queues_go_to_the_reference_and_back() -> Result<()> {
    if !available(Language::Java)? {
        return Ok(());
    }
    let seed = seed();
    eprintln!("ARUGULA_CROSS_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let settings = [
        ("enableLmq", "true"),
        ("enableMultiDispatch", "true"),
        ("mapperFileSizeBatchConsumeQueue", "460"),
    ];
    let (mut site, mut wholes) = (Site::new(&settings)?, Wholes::default());
    for (apache, arugula) in ends(rounds(2), &mut rng) {
        wholes.turn(&mut site, (Maker::Apache, apache), &mut rng)?;
        wholes.turn(&mut site, (Maker::Arugula, arugula), &mut rng)?;
    }
    wholes.turn(&mut site, (Maker::Apache, End::Clean), &mut rng)?;
    site.verify(true)
}

#[test]
fn what_crashes_leave_of_a_store_is_enough() -> Result<()> {
    relay(&[], |relay| {
        let store = relay.site.store();
        relay.turn(Maker::Apache, End::Clean)?;
        let early = Copy::of(&store, "early")?;
        std::fs::remove_dir_all(store.join("consumequeue"))?;
        tear_tables(&store)?;
        lose_keys(&store)?;

        relay.turn(Maker::Arugula, End::Clean)?;
        tear_tables(&store)?;

        let mut begin = None;
        relay.turn_with(Maker::Apache, End::Kill, |store| {
            begin = Some(Copy::of(store, "begin")?);
            Ok(())
        })?;
        // Its queues never came to the disk.
        begin.context("a copy")?.restore(&store)?;

        relay.turn(Maker::Arugula, End::Kill)?;
        relay.deliver(Maker::Apache)?;
        early.restore(&store)?;
        relay.look()
    })
}
