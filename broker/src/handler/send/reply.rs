//! Answers to sends, written without building maps.

use crate::topic::{MessageType, Topic};
use crate::transaction::Outcome;
use bytes::BytesMut;
use common::wire::head::HeadWriter;
use common::wire::{Reply, ReplyTo};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use store::Appended;

/// What every answer of this broker carries.
#[derive(Debug, Clone)]
pub(super) struct ReplyTemplate {
    /// Hex of the store host: the beginning of every offset message id.
    host_hex: String,
    region: String,
    trace_on: &'static str,
}

impl ReplyTemplate {
    pub(super) fn new(store_host: SocketAddr, region: &str, trace_on: bool) -> Self {
        let mut host_hex = String::new();
        let mut put = |bytes: &[u8]| {
            for byte in bytes {
                // Writing to a String cannot fail.
                let _ = write!(host_hex, "{byte:02X}");
            }
        };
        match store_host.ip() {
            IpAddr::V4(ip) => put(&ip.octets()),
            IpAddr::V6(ip) => put(&ip.octets()),
        }
        put(&u32::from(store_host.port()).to_be_bytes());
        Self {
            host_hex,
            region: region.to_owned(),
            trace_on: if trace_on { "true" } else { "false" },
        }
    }

    /// What `MSG_REGION` says.
    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// What `TRACE_ON` says.
    pub(super) fn trace_on(&self) -> &'static str {
        self.trace_on
    }

    /// A refusal, with the two fields clients expect on every answer to a send.
    pub(super) fn refuse(&self, mut reply: Reply) -> Reply {
        reply.fields.push("MSG_REGION", &self.region);
        reply.fields.push("TRACE_ON", self.trace_on);
        reply
    }

    /// Writes the answer to a send whose messages are `stored`.
    pub(super) fn write(
        &self,
        out: &mut BytesMut,
        sent: &Pending,
        code: i32,
        unique_keys: &str,
        stored: &[Appended],
    ) {
        if let Answer::Ended(outcome) = sent.answer {
            // Stored in any case; an end has no word for "not on the disk yet".
            ended(outcome).encode_head(sent.to, out);
            return;
        }
        let mut reply = HeadWriter::reply(out, sent.to, code);
        match sent.answer {
            Answer::Sent | Answer::Ended(_) => {}
            Answer::Plain => return reply.finish(0),
            Answer::Recalled => {
                let key = sent.unique_key.clone().unwrap_or_default();
                reply.text("msgId", &unique_keys[key]);
                reply.text("MSG_REGION", &self.region);
                return reply.finish(0);
            }
        }
        let mut ids = MessageIds {
            one: [0; MAX_ID_BYTES],
            many: Vec::new(),
        };
        reply.plain("msgId", ids.of(&self.host_hex, stored));
        reply.int("queueId", sent.queue_id);
        reply.int(
            "queueOffset",
            stored.first().map_or(0, |first| first.queue_offset.0),
        );
        if let Some(key) = &sent.unique_key {
            reply.text("transactionId", &unique_keys[key.clone()]);
            if sent.inner.is_some() {
                reply.text("batchUniqId", &unique_keys[key.clone()]);
            }
        }
        if let Some(handle) = &sent.recall_handle {
            reply.text("recallHandle", &unique_keys[handle.clone()]);
        }
        reply.text("MSG_REGION", &self.region);
        reply.plain("TRACE_ON", self.trace_on.as_bytes());
        reply.finish(0);
    }
}

/// A request whose records are in the turn's batch.
pub(super) struct Pending {
    pub(super) to: ReplyTo,
    pub(super) queue_id: u32,
    /// Its records in the batch.
    pub(super) records: Range<usize>,
    /// Its unique key, in the turn's text.
    pub(super) unique_key: Option<Range<usize>>,
    /// Messages of a batch that is one record.
    pub(super) inner: Option<u32>,
    /// What calls it back, in the same text.
    pub(super) recall_handle: Option<Range<usize>>,
    /// It is answered once it is as durable as the broker promises.
    pub(super) wait: bool,
    pub(super) answer: Answer,
    /// What it is, for the counters.
    pub(super) kind: MessageType,
    /// The topic it is stored in, if it counts there.
    pub(super) topic: Option<Arc<Topic>>,
    /// Of a half message: the topic it is meant for, and its immunity time in seconds.
    pub(super) half: Option<(Arc<Topic>, u32)>,
}

/// What is answered when the records are stored.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// Where they are.
    Sent,
    /// The unique key of the message they call back.
    Recalled,
    /// The code alone.
    Plain,
    /// That a transaction is over.
    Ended(Outcome),
}

/// Remark of answers for which the reference has none.
pub(super) const NO_REMARK: &str = "not set any response code";

/// The answer to the end of a transaction.
pub(super) fn ended(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Committed => Reply::ok(),
        _ => Reply::ok().with_remark(NO_REMARK),
    }
}

impl Pending {
    /// A message of its own that says no more than where it is stored, and that waits for the disk.
    pub(super) fn new(
        (to, answer): (ReplyTo, Answer),
        (kind, topic): (MessageType, Option<Arc<Topic>>),
        queue_id: u32,
        records: Range<usize>,
    ) -> Self {
        Self {
            to,
            queue_id,
            records,
            unique_key: None,
            inner: None,
            recall_handle: None,
            wait: true,
            answer,
            kind,
            topic,
            half: None,
        }
    }

    /// Adds what is new of its records to its topic's counters.
    pub(super) fn count(&self, stored: &[Appended], is_new: impl Fn(usize) -> bool) {
        let Some(topic) = &self.topic else { return };
        let new = self.records.clone().zip(stored);
        let new = new.filter(|(record, _)| is_new(*record));
        let (messages, bytes) = new.fold((0, 0), |(messages, bytes), (_, one)| {
            (
                messages + self.inner.map_or(1, u64::from),
                bytes + u64::from(one.bytes),
            )
        });
        topic.counters().stored(self.kind, messages, bytes);
    }
}

/// Bytes of an offset message id with an IPv6 address.
const MAX_ID_BYTES: usize = 56;

/// Offset message ids joined by commas; one needs no heap.
struct MessageIds {
    one: [u8; MAX_ID_BYTES],
    many: Vec<u8>,
}

impl MessageIds {
    fn of(&mut self, host_hex: &str, stored: &[Appended]) -> &[u8] {
        let prefix = host_hex.len();
        self.one[..prefix].copy_from_slice(host_hex.as_bytes());
        let id = prefix + 16;
        if let [only] = stored {
            hex_16(&mut self.one[prefix..id], only.physical_offset.0);
            return &self.one[..id];
        }
        for (at, record) in stored.iter().enumerate() {
            if at > 0 {
                self.many.push(b',');
            }
            hex_16(&mut self.one[prefix..id], record.physical_offset.0);
            self.many.extend_from_slice(&self.one[..id]);
        }
        &self.many
    }
}

fn hex_16(out: &mut [u8], value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for (byte, pair) in value.to_be_bytes().iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}
