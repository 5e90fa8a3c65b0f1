//! The settings of the running name server.

use common::server::change;
use common::wire::Reply;

use super::{Answer, Handler};

impl Handler {
    /// `GET_NAMESRV_CONFIG`
    pub fn get_config(&self) -> Reply {
        Reply::ok().with_body(self.settings.to_text())
    }

    /// `UPDATE_NAMESRV_CONFIG`
    pub fn update_config(&self, body: &[u8]) -> Answer {
        // Everybody looks at the settings when it is time to.
        change(&self.settings, body, |_| ()).map_or_else(Answer::Now, Answer::AfterDisk)
    }
}
