use common::config::ConfigValue;
use store::DelayLevels;

/// The delay levels, with the text they were given as.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub struct MessageDelayLevel {
    text: String,
    /// What the text means.
    pub levels: DelayLevels,
}

impl ConfigValue for MessageDelayLevel {
    fn from_text(text: &str) -> Option<Self> {
        Some(Self {
            text: text.to_owned(),
            levels: DelayLevels::parse(text)?,
        })
    }

    fn to_text(&self) -> String {
        self.text.clone()
    }

    fn expected() -> String {
        "whole numbers with one of the units s, m, h and d, separated by blanks".into()
    }
}

impl Default for MessageDelayLevel {
    fn default() -> Self {
        Self {
            text: store::DEFAULT_DELAY_LEVELS.into(),
            levels: DelayLevels::default(),
        }
    }
}
