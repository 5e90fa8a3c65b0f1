//! What every server binary has: flags, logs, signals, exit codes, and an HTTP listener with the common pages.
//!
//! Nothing here knows what the server does.

mod cli;
mod exit;
mod figures;
mod http;
mod logging;
mod settings;
mod signals;

pub use cli::{CommonArgs, LogFormat};
pub use exit::{Failure, exit};
pub use figures::{Families, Figure, register};
pub use http::{HttpError, HttpServer, Readiness, router, starting};
pub use settings::{Change, change};
pub use signals::Shutdown;
