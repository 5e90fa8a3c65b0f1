//! The settings of the running name server.

use std::sync::Arc;

use common::config::{Live, properties, to_text};
use common::wire::{Reply, response_code};

use super::{Answer, system_error};
use crate::config::NameserverConfig;

/// Endings of keys whose values are places or programs: whoever reaches the port must not choose them.
const PROTECTED_ENDINGS: [&str; 5] = ["Path", "Home", "Dir", "File", "Command"];

/// Serves the requests about settings.
#[derive(Debug, Clone)]
pub struct SettingsHandler {
    settings: Arc<Live<NameserverConfig>>,
}

impl SettingsHandler {
    /// A handler of `settings`.
    pub fn new(settings: Arc<Live<NameserverConfig>>) -> Self {
        Self { settings }
    }

    /// `GET_NAMESRV_CONFIG`
    pub fn get(&self) -> Reply {
        Reply::ok().with_body(to_text(&*self.settings.get()))
    }

    /// `UPDATE_NAMESRV_CONFIG`
    pub fn update(&self, body: &[u8]) -> Answer {
        let changes = match properties::parse(&properties::decode(body)) {
            Ok(changes) => changes,
            Err(error) => return system_error(error).into(),
        };
        let settings = self.settings.get();
        if changes
            .iter()
            .any(|change| is_protected(&settings, &change.key))
        {
            let remark = "Can not update config in black list.";
            return Reply::error(response_code::NO_PERMISSION, remark).into();
        }
        if changes.is_empty() {
            return Reply::ok().into();
        }
        let settings = Arc::clone(&self.settings);
        Answer::AfterDisk(Box::new(move || match settings.update(&changes) {
            Ok(keys) => {
                tracing::info!(?keys, "settings changed by request");
                Reply::ok()
            }
            Err(error) => system_error(format!("changed, but not written to the file: {error}")),
        }))
    }
}

fn is_protected(settings: &NameserverConfig, key: &str) -> bool {
    settings.is_black_listed(key)
        || key == "configBlackList"
        || PROTECTED_ENDINGS.iter().any(|ending| key.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_protected_whatever_the_black_list_says() {
        let settings = NameserverConfig {
            config_black_list: "productEnvName".into(),
            ..Default::default()
        };
        for key in [
            "configBlackList",
            "configStorePath",
            "kvConfigPath",
            "rocketmqHome",
            "productEnvName",
        ] {
            assert!(is_protected(&settings, key), "{key}");
        }
        assert!(!is_protected(&settings, "orderMessageEnable"));
    }
}
