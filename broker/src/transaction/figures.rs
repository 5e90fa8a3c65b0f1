//! What others see of transactions: figures by topic, the list of open ones, and the file of the reference.

use super::Transactions;
use super::half::HalfMessage;
use super::table::{Open, TopicFigures};
use crate::config_file::{ConfigFile, ConfigFileError};
use common::message::message_id::offset_id;
use common::message::record::RecordView;
use common::wire::body::{DataVersion, OpenTransaction, OpenTransactions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most transactions of one page.
const PAGE: usize = 1000;

/// Figures of all transactions.
#[derive(Debug, Clone, Default)]
pub struct TransactionFigures {
    /// Age of the oldest open one, in milliseconds.
    pub oldest_ms: i64,
    /// How many are open and what happened, by topic.
    pub topics: Vec<TopicFigures>,
}

/// The file `config/transactionMetrics`.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionMetrics {
    data_version: DataVersion,
    transaction_count: BTreeMap<String, Count>,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    count: u64,
    time_stamp: i64,
}

impl Transactions {
    /// All figures as they are now.
    pub fn figures(&self) -> TransactionFigures {
        let (now, mut oldest, mut next) = (self.now(), None, Some(0));
        while let Some(from) = next {
            let (some, more) = self.table().oldest(from);
            oldest = [oldest, some].into_iter().flatten().min();
            next = more;
        }
        TransactionFigures {
            oldest_ms: oldest.map_or(0, |oldest| now.saturating_sub(oldest).max(0)),
            topics: self.table().figures().to_vec(),
        }
    }

    /// Open transactions from an offset of the half queue on, at most so many, and what they are about. Reads the log: blocks.
    pub fn list(&self, from: u64, most: usize) -> OpenTransactions {
        let most = most.clamp(1, PAGE);
        let mut found: Vec<Open> = self.table().list(from).take(most + 1).collect();
        let next = (found.len() > most).then(|| found[most].newest);
        found.truncate(most);
        let transactions = found.iter().filter_map(|open| self.show(open)).collect();
        OpenTransactions {
            transactions,
            next_offset: next.and_then(|next| i64::try_from(next).ok()),
            open: i64::try_from(self.table().len()).unwrap_or(i64::MAX),
        }
    }

    fn show(&self, open: &Open) -> Option<OpenTransaction> {
        let record = self.half_at(open.newest)?;
        let view = RecordView::parse(&record).ok()?;
        let half = HalfMessage::of(&view)?;
        let position = u64::try_from(view.physical_offset).ok()?;
        Some(OpenTransaction {
            transaction_id: half.unique_key.unwrap_or("").to_owned(),
            offset_msg_id: offset_id(view.store_host, common::ids::PhysicalOffset(position)),
            topic: half.topic.to_owned(),
            queue_id: half.queue_id,
            producer_group: half.group.unwrap_or("").to_owned(),
            half_offset: view.queue_offset,
            commit_log_offset: view.physical_offset,
            born_timestamp: view.born_timestamp,
            age_ms: self.now().saturating_sub(open.since),
            checks: open.checks.into(),
            body_bytes: view.body.len() as u64,
        })
    }

    /// Writes the file each time something has changed. Runs until it is dropped.
    pub(super) async fn write_metrics(&self) {
        let mut written = None;
        loop {
            let pause = self.shared.settings.now().transaction_metric_flush_interval;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let state: Vec<_> = self
                .table()
                .figures()
                .iter()
                .map(|of| (of.open, of.changed))
                .collect();
            if written.as_ref() == Some(&state) {
                continue;
            }
            let this = self.clone();
            match tokio::task::spawn_blocking(move || this.persist()).await {
                Ok(Err(error)) => tracing::warn!(%error, "transactionMetrics is not written"),
                _ => written = Some(state),
            }
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The system refuses.
    pub fn persist(&self) -> Result<(), ConfigFileError> {
        let count = |of: &TopicFigures| {
            let count = Count {
                count: of.open,
                time_stamp: of.changed,
            };
            (of.topic.to_string(), count)
        };
        let metrics = TransactionMetrics {
            data_version: DataVersion::new(self.now()),
            transaction_count: self.table().figures().iter().map(count).collect(),
        };
        let root = &self.shared.settings.now().store_path_root_dir;
        let file = ConfigFile::new(root.join("config/transactionMetrics"));
        let text = file.encode(&metrics)?;
        file.replace(&text)
    }
}
