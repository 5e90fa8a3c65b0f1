//! The settings of the running broker.

use super::send::SendHandler;
use crate::registration::RegistrationSettings;
use crate::state::State;
use crate::timer::Timers;
use common::server::change;
use common::transport::Connection;
use common::wire::body::DataVersion;
use common::wire::{Reply, ReplyTo};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::watch;

/// Serves `UPDATE_BROKER_CONFIG` and `GET_BROKER_CONFIG`.
///
/// Most handlers look at the settings with every request. Who keeps what follows from some of them is told here of changes;
/// whatever else a setting is used for it is used for at the next start.
pub struct SettingsHandler {
    /// The settings, and who keeps what follows from them.
    pub state: State,
    /// Grows with every change.
    pub version: Mutex<DataVersion>,
    /// What is allowed to be sent.
    pub send: Arc<SendHandler>,
    /// When messages with a time are appended again.
    pub timers: Timers,
    /// What name servers are told.
    pub registration: watch::Sender<RegistrationSettings>,
}

impl SettingsHandler {
    /// `GET_BROKER_CONFIG`: every setting as it is now.
    pub fn get(&self) -> Reply {
        let mut reply = Reply::ok().with_body(self.state.settings.to_text());
        let version = self.version.lock().encode();
        reply
            .fields
            .set("version", String::from_utf8_lossy(&version));
        reply
    }

    /// `UPDATE_BROKER_CONFIG`; `None` when it is answered once the configuration file is written.
    pub fn update(
        self: &Arc<Self>,
        asked: (&Arc<Connection>, ReplyTo),
        body: &[u8],
    ) -> Option<Reply> {
        let handler = Arc::clone(self);
        match change(&self.state.settings, body, move |_| handler.apply()) {
            Ok(change) => self.state.later(asked, move |_| change()),
            Err(reply) => Some(reply),
        }
    }

    /// Has everybody go on with the settings as they are now.
    fn apply(&self) {
        // Held to the end: of two changes at a time none goes on with what was before the other.
        let mut version = self.version.lock();
        version.counter += 1;
        let config = self.state.settings.get();
        self.send.apply(&config);
        self.state.topics.settings_changed();
        self.state.writer.set_retention(config.retention());
        self.timers.apply(&config);
        self.registration.send_if_modified(|told| {
            let now = RegistrationSettings::new(
                &config,
                told.broker_addr.clone(),
                told.ha_server_addr.clone(),
            );
            let changed = *told != now;
            if changed {
                // Topics are told differently, without being other ones.
                self.state.topics.step_version();
            }
            *told = now;
            changed
        });
    }
}
