//! One file of the simulated disk: what is durable, and every version written since.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes a disk writes as a whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// `None`: zeros.
type Sector = Option<Arc<[u8; SECTOR_BYTES]>>;

/// Content and length of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    durable: Vec<Sector>,
    durable_length: u64,
    unsynced: BTreeMap<usize, Versions>,
    /// Later lengths, oldest first.
    lengths: Vec<u64>,
    /// Sectors that have their place on the disk.
    taken: Vec<bool>,
}

/// What a sector held since its last sync, oldest first.
#[derive(Debug, Clone, Default)]
struct Versions {
    list: Vec<Sector>,
    /// A sync of these failed: the system believes them clean, and no later sync writes them.
    forgotten: bool,
}

fn sector_of(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX) / SECTOR_BYTES
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        self.lengths.last().copied().unwrap_or(self.durable_length)
    }

    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length() {
            self.put(length, None, self.length() - length);
        }
        if length != self.length() {
            self.lengths.push(length);
        }
    }

    fn latest(&self, sector: usize) -> Option<&[u8; SECTOR_BYTES]> {
        match self.unsynced.get(&sector).and_then(|it| it.list.last()) {
            Some(version) => version.as_deref(),
            None => self.durable.get(sector)?.as_deref(),
        }
    }

    /// Fills `buffer` from `offset`; false when that is beyond the end.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> bool {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.length() {
            return false;
        }
        let mut within = usize::try_from(offset % SECTOR_BYTES as u64).unwrap_or(0);
        let (mut sector, mut rest) = (sector_of(offset), buffer);
        while !rest.is_empty() {
            let bytes = rest.len().min(SECTOR_BYTES - within);
            let (piece, left) = rest.split_at_mut(bytes);
            match self.latest(sector) {
                Some(there) => piece.copy_from_slice(&there[within..within + bytes]),
                None => piece.fill(0),
            }
            (rest, within) = (left, 0);
            sector += 1;
        }
        true
    }

    /// Sectors of `[from, to)` that have no place on the disk yet.
    pub(super) fn untaken(&self, from: u64, to: u64) -> usize {
        if from >= to {
            return 0;
        }
        let sectors = sector_of(from)..sector_of(to + SECTOR_BYTES as u64 - 1);
        sectors
            .filter(|sector| !self.taken.get(*sector).is_some_and(|taken| *taken))
            .count()
    }

    /// Marks the sectors of `[from, to)` as having, or not having, their place on the disk.
    pub(super) fn take(&mut self, from: u64, to: u64, taken: bool) {
        if from >= to {
            return;
        }
        let sectors = sector_of(from)..sector_of(to + SECTOR_BYTES as u64 - 1);
        if self.taken.len() < sectors.end {
            self.taken.resize(sectors.end, false);
        }
        self.taken[sectors].fill(taken);
    }

    /// Bytes that have their place on the disk.
    pub(super) fn taken_bytes(&self) -> u64 {
        (self.taken.iter().filter(|taken| **taken).count() * SECTOR_BYTES) as u64
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        self.put(offset, Some(bytes), bytes.len() as u64);
        let end = offset + bytes.len() as u64;
        if end > self.length() {
            self.lengths.push(end);
        }
    }

    pub(super) fn zero(&mut self, from: u64, to: u64) {
        self.put(from, None, to.min(self.length()).saturating_sub(from));
    }

    /// `bytes` or zeros, sector by sector.
    fn put(&mut self, offset: u64, bytes: Option<&[u8]>, count: u64) {
        let (mut at, end) = (offset, offset + count);
        while at < end {
            let sector = sector_of(at);
            let sector_end = (sector as u64 + 1) * SECTOR_BYTES as u64;
            let until = end.min(sector_end);
            let within = |offset: u64| {
                usize::try_from(offset + SECTOR_BYTES as u64 - sector_end).unwrap_or(0)
            };
            let old = self.latest(sector);
            let mut new = old.copied().unwrap_or([0; SECTOR_BYTES]);
            let place = &mut new[within(at)..within(until)];
            match bytes {
                Some(bytes) => {
                    let from = usize::try_from(at - offset).unwrap_or(0);
                    place.copy_from_slice(&bytes[from..from + place.len()]);
                }
                None => place.fill(0),
            }
            let changed = old.map_or(new != [0; SECTOR_BYTES], |old| *old != new);
            let again = self.unsynced.get(&sector).is_some_and(|it| it.forgotten);
            if changed || again {
                let version = (new != [0; SECTOR_BYTES]).then(|| Arc::new(new));
                let versions = self.unsynced.entry(sector).or_default();
                versions.list.push(version);
                // It is dirty again.
                versions.forgotten = false;
            }
            at = until;
        }
    }

    pub(super) fn sync(&mut self) {
        let unsynced = std::mem::take(&mut self.unsynced);
        for (sector, mut versions) in unsynced {
            if versions.forgotten {
                self.unsynced.insert(sector, versions);
            } else if let Some(last) = versions.list.pop() {
                self.set_durable(sector, last);
            }
        }
        self.durable_length = self.length();
        self.lengths.clear();
    }

    /// A sync failed: whether any of it is on the disk is not known, and nobody tries again.
    pub(super) fn forget_unsynced(&mut self) {
        for versions in self.unsynced.values_mut() {
            versions.forgotten = true;
        }
    }

    /// Whether a failed sync has left something that looks as if it were on the disk.
    pub(super) fn is_deceptive(&self) -> bool {
        self.unsynced.values().any(|versions| versions.forgotten)
    }

    /// Puts everything on the disk, also what a failed sync has forgotten.
    pub(super) fn settle(&mut self) {
        for versions in self.unsynced.values_mut() {
            versions.forgotten = false;
        }
        self.sync();
    }

    fn set_durable(&mut self, sector: usize, version: Sector) {
        if self.durable.len() <= sector {
            self.durable.resize(sector + 1, None);
        }
        self.durable[sector] = version;
    }

    pub(super) fn is_durable(&self) -> bool {
        self.unsynced.is_empty() && self.lengths.is_empty()
    }

    /// Sectors that are not durable, each with the number of its versions.
    pub(super) fn unsynced_sectors(&self) -> impl Iterator<Item = (usize, usize)> {
        let of = |(sector, versions): (&usize, &Versions)| (*sector, versions.list.len());
        self.unsynced.iter().map(of)
    }

    /// Number of lengths that are not durable.
    pub(super) fn unsynced_lengths(&self) -> usize {
        self.lengths.len()
    }

    /// What a power cut leaves: of `versions` of a sector, or of the length (`None`), as many as
    /// `keep` says reached the disk, 0 for what was there at the last sync.
    pub(super) fn after_power_cut(
        &self,
        mut keep: impl FnMut(Option<usize>, usize) -> usize,
    ) -> Self {
        let kept_length = match keep(None, self.lengths.len()) {
            0 => self.durable_length,
            kept => self.lengths[kept - 1],
        };
        let mut left = Self {
            durable: self.durable.clone(),
            durable_length: kept_length,
            taken: self.taken.clone(),
            ..Self::default()
        };
        for (sector, versions) in &self.unsynced {
            let kept = keep(Some(*sector), versions.list.len());
            if kept > 0 {
                left.set_durable(*sector, versions.list[kept - 1].clone());
            }
        }
        left.cut_behind_length();
        left
    }

    /// What stands behind the end of a file is no part of it, even if the file grows again.
    fn cut_behind_length(&mut self) {
        let whole = sector_of(self.durable_length);
        let within = usize::try_from(self.durable_length % SECTOR_BYTES as u64).unwrap_or(0);
        if let Some(Some(last)) = self.durable.get_mut(whole)
            && last[within..].iter().any(|byte| *byte != 0)
        {
            Arc::make_mut(last)[within..].fill(0);
        }
        self.durable.truncate(whole + usize::from(within > 0));
    }
}
