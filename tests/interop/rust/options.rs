use std::collections::HashMap;

use anyhow::{Context, Result};

/// The key=value arguments.
pub struct Options(HashMap<String, String>);

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let pairs = arguments.map(|argument| {
            let (key, value) = argument
                .split_once('=')
                .with_context(|| format!("expected key=value, found {argument}"))?;
            Ok((key.to_owned(), value.to_owned()))
        });
        Ok(Self(pairs.collect::<Result<_>>()?))
    }

    pub fn text(&self, key: &str) -> Result<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .with_context(|| format!("missing argument {key}"))
    }

    pub fn or<'a>(&'a self, key: &str, otherwise: &'a str) -> &'a str {
        self.0.get(key).map_or(otherwise, String::as_str)
    }

    pub fn number(&self, key: &str, otherwise: u32) -> Result<u32> {
        self.0
            .get(key)
            .map_or(Ok(otherwise), |value| value.parse().context(key.to_owned()))
    }
}
