//! What every server binary has: flags, logs, signals, exit codes, and an HTTP listener with the common pages.
//!
//! Nothing here knows what the server does.

mod cli;
mod exit;
mod http;
mod logging;
mod signals;

pub use cli::{CommonArgs, LogFormat};
pub use exit::{Failure, exit};
pub use http::{HttpError, HttpServer, Readiness, router, starting};
pub use signals::Shutdown;
