//! The ledger: what is in the database about deliveries, and up to which position of the log that is true.

use super::note::{Follower, Kind};
use crate::kv::{Change, Family, Kv, KvAtStart, KvError};
use common::message::record::RecordView;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::sync::Arc;
use std::time::Duration;
use store::{StoreError, StoreReader, StoreWriter};

pub(super) const MARK_KEY: &[u8] = b"delivery mark";
/// Time between two marks while something is delivered.
const INTERVAL: Duration = Duration::from_secs(1);
/// While nothing is delivered the mark moves when the log has grown by so much: a start has to read no more.
const QUIET_BYTES: u64 = 64 << 20;

/// Somebody who delivers, or keeps account of what was delivered.
pub trait Account: Send + Sync + 'static {
    /// At the start, for every delivery found in the log behind the mark, in order: this origin is done, with this record if
    /// something came of it. May be known already.
    fn delivered(&self, _kind: Kind, _origin: u64, _record: Option<&RecordView<'_>>) {}

    /// At the start, for every record of the log behind the mark, in order and before what it delivers.
    fn replayed(&self, _record: &RecordView<'_>) {}

    /// What has become of rows since this was last called. Nobody delivers meanwhile. The changes reach the disk after all
    /// that is in the log now.
    fn take_changes(&self) -> Vec<Change>;

    /// The first position of the log that is needed for what waits, after [`Self::take_changes`]. Cheap: touches no page of the log.
    fn needed_from(&self, _reader: &StoreReader) -> u64 {
        u64::MAX
    }

    /// What [`Self::take_changes`] last gave may be told to others: no power cut can take back what it rests on.
    fn settled(&self) {}
}

/// Why the ledger does not open, or is not on the disk.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database.
    #[error(transparent)]
    Kv(#[from] Arc<KvError>),
    /// The log.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps accounts and mark together. Clones are handles of the same one.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    accounts: Vec<Arc<dyn Account>>,
    reader: StoreReader,
    writer: StoreWriter,
    kv: Kv,
    /// Shared by all who deliver, taken alone while the accounts are read.
    delivering: RwLock<()>,
    round: Mutex<Round>,
}

/// What was gathered and is not in the database yet.
#[derive(Default)]
struct Round {
    changes: Vec<Change>,
    /// The log has to be on the disk up to here first; then it is the mark.
    until: Option<u64>,
    mark: u64,
}

/// Somebody is delivering: no mark is set meanwhile.
pub struct Entered<'a> {
    _delivering: RwLockReadGuard<'a, ()>,
}

impl Ledger {
    /// The ledger of a store that was just opened, before anything is delivered: tells the accounts what the log says beyond
    /// what is in the database. Without a mark the end of the log becomes the mark: what the accounts were opened with counts.
    ///
    /// # Errors
    /// The mark or the log cannot be read.
    pub fn open(
        start: &KvAtStart,
        (writer, reader): (StoreWriter, StoreReader),
        accounts: Vec<Arc<dyn Account>>,
    ) -> Result<Self, LedgerError> {
        let kv = start.kv().clone();
        let known = start.number(Family::Exchange, MARK_KEY).map_err(Arc::new)?;
        let end = reader.status().max_physical;
        let mut mark = known.unwrap_or(end).min(end);
        let (mut follower, mut records, mut found) = (Follower::default(), 0_u64, 0_u64);
        let replayed = reader.replay(mark, &mut |record| {
            records += 1;
            for account in &accounts {
                account.replayed(record);
            }
            follower.follow(record, |kind, origin, message| {
                found += 1;
                for account in &accounts {
                    account.delivered(kind, origin, message);
                }
            });
        });
        match replayed {
            Err(error) if records == 0 => {
                tracing::warn!(%error, "another broker has changed the log: what its files say counts");
                mark = end;
            }
            other => drop(other?),
        }
        if known != Some(mark)
            && let Err(error) = kv.store([mark_row(mark)])
        {
            tracing::warn!(%error, "a crash from now on can repeat deliveries");
        }
        if end > mark {
            tracing::info!(mark, end, found, "deliveries were read from the log");
        }
        let round = Round {
            mark,
            ..Round::default()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                accounts,
                reader,
                writer,
                kv,
                delivering: RwLock::default(),
                round: Mutex::new(round),
            }),
        })
    }

    /// To be held from before an append until the state of the account knows of it. Cheap; never twice in one thread, and never
    /// across a wait.
    pub fn enter(&self) -> Entered<'_> {
        Entered {
            _delivering: self.shared.delivering.read(),
        }
    }

    /// Settles every second. Ends when the log has failed for good, or when dropped.
    pub async fn run(self) {
        let mut flushed = self.shared.writer.flushed();
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(until) = self.gather(QUIET_BYTES) else {
                continue;
            };
            let Ok(now) = flushed
                .wait_for(|flushed| *flushed >= until)
                .await
                .map(|f| *f)
            else {
                return;
            };
            // On the disk a little later; a crash before that finds the mark before.
            let changes = self.close_round(now);
            self.shared.kv.submit(changes);
        }
    }

    /// Brings everything to the disk, for the end: nobody may deliver any more, and the next start has nothing to read. Blocks.
    ///
    /// # Errors
    /// The log or the database cannot be written; the next start reads the rest from the log.
    pub fn settle(&self) -> Result<(), LedgerError> {
        let Some(until) = self.gather(1) else {
            return Ok(());
        };
        self.shared.writer.flush()?;
        self.shared.kv.store(self.close_round(until))?;
        Ok(())
    }

    /// Adds what has changed to the round; the position the log has to be on the disk up to, if there is anything to write: a
    /// change, or a mark so many bytes further on.
    pub(super) fn gather(&self, quiet_bytes: u64) -> Option<u64> {
        let mut round = self.shared.round.lock();
        let alone = self.shared.delivering.write();
        let end = self.shared.reader.status().max_physical;
        for account in &self.shared.accounts {
            round.changes.extend(account.take_changes());
        }
        drop(alone);
        let accounts = self.shared.accounts.iter();
        let needed = accounts.map(|account| account.needed_from(&self.shared.reader));
        self.shared
            .reader
            .need_from(needed.min().unwrap_or(u64::MAX));
        let quiet = round.changes.is_empty() && end - round.mark < quiet_bytes;
        if quiet {
            return None;
        }
        round.until = Some(end);
        round.until
    }

    /// The changes of the round and its mark, for one write; none when the log is not on the disk up to there.
    pub(super) fn close_round(&self, flushed: u64) -> Vec<Change> {
        let mut round = self.shared.round.lock();
        let Some(mark) = round.until.take_if(|until| *until <= flushed) else {
            return Vec::new();
        };
        for account in &self.shared.accounts {
            account.settled();
        }
        round.mark = mark;
        let mut changes = std::mem::take(&mut round.changes);
        changes.push(mark_row(mark));
        changes
    }
}

pub(super) fn mark_row(mark: u64) -> Change {
    Change::put(Family::Exchange, MARK_KEY, mark.to_be_bytes())
}
