//! `DELETE_EXPIRED_COMMITLOG` and `CLEAN_EXPIRED_CONSUMEQUEUE`.

use common::wire::Reply;
use store::StoreWriter;

/// Serves requests to clean up now.
pub struct CleanHandler {
    writer: StoreWriter,
}

impl CleanHandler {
    /// A handler for one store.
    pub fn new(writer: StoreWriter) -> Self {
        Self { writer }
    }

    /// Has what has expired deleted, whatever the hour; files of queues follow those of the log. The answer does not wait for it.
    pub fn delete_expired(&self) -> Reply {
        self.writer.delete_expired();
        Reply::ok()
    }
}
