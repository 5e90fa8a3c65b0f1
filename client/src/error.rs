//! What can go wrong, one variant per thing a caller may want to react to.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::transport::TransportError;
use common::wire::FieldError;

/// Errors of producers, consumers and admin clients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A setting no client could work with.
    #[error("{what}: {reason}")]
    InvalidConfig {
        /// The setting.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// No name server was given.
    #[error("no name server: give at least one as host:port")]
    NoNameServer,
    /// A message that breaks the rules; nothing was sent.
    #[error("illegal message: {reason}")]
    IllegalMessage {
        /// The rule it breaks.
        reason: String,
    },
    /// No broker serves this topic for the purpose at hand: nothing was sent.
    #[error("no route for the topic `{topic}`: create it, or switch on its automatic creation")]
    NoRoute {
        /// The topic.
        topic: String,
    },
    /// The name servers do not list this broker, or not its master.
    #[error("the name servers know no address of the broker `{broker_name}`")]
    NoBroker {
        /// The broker.
        broker_name: String,
    },
    /// The peer answered with a code other than success.
    #[error("{address} answered {code}: {}", remark.as_deref().unwrap_or("no remark"))]
    Refused {
        /// Who answered.
        address: String,
        /// Response code, see `common::wire::response_code`.
        code: i32,
        /// The peer's explanation.
        remark: Option<String>,
    },
    /// The request did not reach the peer, or its answer did not come back.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An answer lacks a field or has a wrong one.
    #[error("{address} sent an answer this client cannot read")]
    AnswerHeader {
        /// Who answered.
        address: String,
        /// The field.
        #[source]
        source: FieldError,
    },
    /// The body of an answer is not what it has to be.
    #[error("{address} sent a body this client cannot read: {reason}")]
    AnswerBody {
        /// Who answered.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Every attempt to send failed.
    #[error("sending to `{topic}` failed {attempts} times in {elapsed:?}")]
    SendFailed {
        /// The topic.
        topic: String,
        /// Attempts made.
        attempts: usize,
        /// Time spent on them.
        elapsed: Duration,
        /// What the last attempt met.
        #[source]
        last: Box<ClientError>,
    },
    /// The time for sending ran out.
    #[error("sending to `{topic}` took longer than {timeout:?}")]
    SendTimeout {
        /// The topic.
        topic: String,
        /// The time there was, all attempts together.
        timeout: Duration,
        /// What the last attempt met, if one ended before.
        #[source]
        last: Option<Box<ClientError>>,
    },
    /// No reply to a request came in time. The request may have been consumed all the same.
    #[error("no reply to the request on `{topic}` within {timeout:?}")]
    RequestTimeout {
        /// Topic of the request.
        topic: String,
        /// The time there was.
        timeout: Duration,
    },
    /// The batch this message was gathered into could not be sent.
    #[error("the batch of this message could not be sent")]
    Batch(#[source] Arc<ClientError>),
    /// More asynchronous sends are under way than allowed; this one was not started.
    #[error("{limit} asynchronous sends are under way already")]
    TooManyInFlight {
        /// The limit.
        limit: usize,
    },
    /// A queue selector answered with an index beyond the queues.
    #[error("the selector chose queue {chosen} of {queues}")]
    NoSuchQueue {
        /// What it chose.
        chosen: usize,
        /// How many there are.
        queues: usize,
    },
    /// The client was shut down.
    #[error("the client is shut down")]
    Stopped,
    /// Offsets of a broadcast consumer could not be read or written.
    #[error("{op} {}", path.display())]
    LocalOffsets {
        /// What was tried.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

impl ClientError {
    pub(crate) fn invalid(what: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::InvalidConfig { what, reason }
    }

    pub(crate) fn illegal(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::IllegalMessage { reason }
    }

    pub(crate) fn no_route(topic: &str) -> Self {
        let topic = topic.to_owned();
        Self::NoRoute { topic }
    }

    pub(crate) fn no_broker(broker_name: &str) -> Self {
        let broker_name = broker_name.to_owned();
        Self::NoBroker { broker_name }
    }

    /// The code the peer answered with, if it was the peer that refused. Looks into
    /// [`ClientError::SendFailed`], [`ClientError::SendTimeout`] and [`ClientError::Batch`] too.
    pub fn response_code(&self) -> Option<i32> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::SendFailed { last, .. } => last.response_code(),
            Self::Batch(cause) => cause.response_code(),
            Self::SendTimeout { last, .. } => last.as_ref().and_then(|last| last.response_code()),
            _ => None,
        }
    }

    /// Whether the peer answered with this code.
    pub fn is_response(&self, code: i32) -> bool {
        self.response_code() == Some(code)
    }
}
