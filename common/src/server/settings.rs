//! Requests that change the settings of a running server.

use std::sync::Arc;

use crate::config::{ChangeError, Config, Live};
use crate::wire::{Reply, response_code};

/// Makes the changes a request asked for, which blocks for the disk, and says how that went.
pub type Change = Box<dyn FnOnce() -> Reply + Send>;

/// What a request with this body is to do. `then` is called with the keys that have another value then.
///
/// # Errors
/// The answer, when there is nothing to do.
pub fn change<C: Config + Send + Sync + 'static>(
    settings: &Arc<Live<C>>,
    body: &[u8],
    then: impl FnOnce(&[&'static str]) + Send + 'static,
) -> Result<Change, Reply> {
    let changes = settings.asked(body).map_err(|error| {
        let code = match error {
            ChangeError::Protected => response_code::NO_PERMISSION,
            ChangeError::Syntax(_) => response_code::SYSTEM_ERROR,
        };
        Reply::error(code, error.to_string())
    })?;
    if changes.is_empty() {
        return Err(Reply::ok());
    }
    let settings = Arc::clone(settings);
    Ok(Box::new(move || {
        let (keys, error) = settings.update(&changes);
        if !keys.is_empty() {
            tracing::info!(?keys, "settings changed by request");
            then(&keys);
        }
        match error {
            None => Reply::ok(),
            Some(error) => {
                let text = format!("changed, but not written to the file: {error}");
                Reply::error(response_code::SYSTEM_ERROR, text)
            }
        }
    }))
}
