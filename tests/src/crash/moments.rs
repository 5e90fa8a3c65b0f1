use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Load;

/// The moments at which things happen to a broker, and the loads before them: all from one seed.
#[derive(Debug)]
pub struct Moments {
    rng: StdRng,
}

impl Moments {
    /// Those of a run.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Producers and consumers for about `messages` messages. Mostly the end comes while they run at
    /// full speed; sometimes they go on until queue files are written (every second), now and then
    /// until everything was synced and a checkpoint written (every ten).
    pub fn load(&mut self, messages: u64) -> Load {
        let linger = match self.rng.random_range(0..100) {
            0..=4 => 9_000..12_500,
            5..=24 => 300..2_300,
            _ => 0..40,
        };
        Load {
            producers: 4,
            messages: self
                .rng
                .random_range(messages / 2..=messages + messages / 2),
            refusals: u64::MAX,
            linger: Duration::from_millis(self.rng.random_range(linger)),
            expiry: self
                .once_in(4)
                .then(|| Duration::from_millis(self.rng.random_range(0..80))),
            seed: self.rng.random(),
        }
    }

    /// How long clients that do everything one by one work before something happens.
    pub fn linger(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(0..1_200))
    }

    /// How far starts come before they are killed, one after the other; none in three of four
    /// cases.
    pub fn killed_starts(&mut self) -> Vec<Duration> {
        /// Of starts in a row.
        const MOST: usize = 4;
        let mut starts = Vec::new();
        while starts.len() < MOST && self.once_in(4) {
            starts.push(self.start());
        }
        starts
    }

    /// How far a start comes: into recovery, or into what follows on it.
    pub fn start(&mut self) -> Duration {
        // Half of them are over before a small store is recovered.
        let most_micros = if self.once_in(2) { 15_000 } else { 100_000 };
        Duration::from_micros(self.rng.random_range(0..most_micros))
    }

    /// How far an orderly end comes: on an idle machine it takes tens of milliseconds, on a busy one
    /// hundreds.
    pub fn end(&mut self) -> Duration {
        let most_micros = 4_000 << self.rng.random_range(0..8);
        Duration::from_micros(self.rng.random_range(0..most_micros))
    }

    /// Whether something happens that happens once in `times`.
    pub fn once_in(&mut self, times: u32) -> bool {
        self.rng.random_ratio(1, times)
    }

    /// A number below `below`.
    pub fn number(&mut self, below: u64) -> u64 {
        self.rng.random_range(0..below.max(1))
    }
}
