//! Those who deliver what waits: started when what they find in the log is known, ended before the log is closed.

use crate::delivery::{Account, Ledger, Outbox};
use crate::kv::KvAtStart;
use crate::schedule::{self, SchedulerParts};
use crate::state::State;
use crate::thread::{Bell, Steps};
use crate::timer::Timers;
use crate::transaction::{Checks, Transactions};
use common::server::Failure;
use std::net::SocketAddr;
use std::sync::Arc;

/// Those who deliver what has waited.
pub(super) struct Deliveries {
    pub(super) ledger: Ledger,
    /// Of transactions.
    pub(super) checks: Arc<Checks>,
    pub(super) timers: Timers,
    /// Those of delay levels and timers.
    threads: Vec<Steps>,
}

impl Deliveries {
    /// Finds in the log what was delivered before, and goes on.
    pub(super) fn start(
        state: &State,
        address: SocketAddr,
        kv: &KvAtStart,
        bell: Arc<Bell>,
    ) -> Result<Self, Failure> {
        let (writer, reader, clock) = (&state.writer, &state.reader, &state.clock);
        let transactions = Transactions::open(
            Arc::clone(&state.settings),
            kv,
            &state.offsets,
            (reader.clone(), address),
            Arc::clone(clock),
        )
        .map_err(Failure::store)?;
        let timers = Timers::open(kv, &state.config, reader.clone(), bell, Arc::clone(clock));
        let timers = timers.map_err(Failure::store)?;
        let accounts: Vec<Arc<dyn Account>> = vec![
            Arc::new(state.delays.clone()),
            Arc::new(transactions.clone()),
            Arc::new(timers.clone()),
        ];
        let ledger =
            Ledger::open(kv, (writer.clone(), reader.clone()), accounts).map_err(Failure::store)?;
        transactions.begin(writer).map_err(Failure::store)?;
        let told = (state.clients.producers.clone(), state.topics.clone());
        let checks = Checks::new(transactions, told, writer.clone());
        let outbox = || {
            let (topics, clock) = (state.topics.clone(), Arc::clone(clock));
            Outbox::new(writer.clone(), topics, address, clock)
        };
        let levels = schedule::start(SchedulerParts {
            levels: state.config.message_delay_level.levels.clone(),
            offsets: state.delays.clone(),
            reader: reader.clone(),
            outbox: outbox(),
            ledger: ledger.clone(),
            metrics: state.metrics.clone(),
            clock: Arc::clone(clock),
        })?;
        let timed = timers.start(writer, outbox(), ledger.clone(), address)?;
        Ok(Self {
            ledger,
            checks,
            timers,
            threads: timed.into_iter().chain([levels]).collect(),
        })
    }

    /// Ends, and brings to the disk what was delivered.
    pub(super) fn stop(self) {
        self.threads.into_iter().for_each(Steps::stop);
        if let Err(error) = self.ledger.settle() {
            tracing::warn!(%error, "what was delivered last is read from the log by the next start");
        } else if let Err(error) = self.timers.hand_over() {
            tracing::warn!(%error, "a Java broker would not find the timed messages that wait");
        }
        if let Err(error) = self.checks.transactions().persist() {
            tracing::warn!(%error, "transactionMetrics is not up to date");
        }
    }
}
