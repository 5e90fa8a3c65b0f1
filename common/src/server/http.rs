//! The HTTP listener with the pages that every server has.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long requests in flight may take when the server ends. They are few and short.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// Texts of errors made by the framework are cut here; they are one line.
const ERROR_TEXT_BYTES: usize = 4096;

/// Whether the server does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not; the text says why, as in "recovering 43 %".
    NotReady(String),
}

/// An error as a page shows it: `{"code":…, "message":…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpError {
    /// Status of the response.
    pub status: StatusCode,
    /// Name of the kind of error for programs, in capitals, as in `TOPIC_NOT_EXIST`.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
}

impl HttpError {
    /// An error with the code that fits its status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code_of(status),
            message: message.into(),
        }
    }

    /// Something that is named in the path and does not exist.
    pub fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.code, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

/// `NOT_FOUND` for 404 and so on.
fn code_of(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or("Error");
    reason.to_ascii_uppercase().replace([' ', '-'], "_")
}

/// The pages of a server that is starting: it is alive, and `/readyz` says how far it is.
pub fn starting(progress: impl Fn() -> String + Send + Sync + 'static) -> Router {
    let readiness = move || Readiness::NotReady(progress());
    router(Registry::new(), readiness, Router::new())
}

/// All pages of a server: `/healthz`, `/readyz`, `/metrics` and those of `api`. Every error has the form of [`HttpError`],
/// whoever made it.
pub fn router(
    registry: Registry,
    readiness: impl Fn() -> Readiness + Send + Sync + 'static,
    api: Router,
) -> Router {
    let readiness = Arc::new(readiness);
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(move || readyz(readiness())))
        .route("/metrics", get(move || metrics(registry)))
        .merge(api)
        .fallback(no_such_page)
        .layer(map_response(with_json_errors))
}

async fn healthz() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

#[expect(clippy::unused_async, reason = "axum calls handlers as futures")]
async fn readyz(readiness: Readiness) -> Response {
    match readiness {
        Readiness::Ready => Json(json!({ "status": "ready" })).into_response(),
        Readiness::NotReady(message) => HttpError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "NOT_READY".into(),
            message,
        }
        .into_response(),
    }
}

#[expect(clippy::unused_async, reason = "axum calls handlers as futures")]
async fn metrics(registry: Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

async fn no_such_page(uri: axum::http::Uri) -> HttpError {
    HttpError::new(
        StatusCode::NOT_FOUND,
        format!("there is no page {}", uri.path()),
    )
}

/// Gives errors that the framework made (wrong method, query that does not parse) the form of all others.
async fn with_json_errors(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let json = HeaderValue::from_static("application/json");
    if !is_error || response.headers().get(CONTENT_TYPE) == Some(&json) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = to_bytes(body, ERROR_TEXT_BYTES).await.unwrap_or_default();
    let message = match std::str::from_utf8(&text) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => status.canonical_reason().unwrap_or("error").to_lowercase(),
    };
    let (error, body) = HttpError::new(status, message).into_response().into_parts();
    // Others stay: with 405, `Allow` says what is allowed.
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.extend(error.headers);
    Response::from_parts(parts, Body::new(body))
}

/// A listener that serves pages.
#[derive(Debug)]
pub struct HttpServer {
    listener: std::net::TcpListener,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Listens on `address` (port 0: any free one) and serves `router` from now on, on the runtime that calls.
    ///
    /// # Errors
    /// The address cannot be listened on; the text names it.
    pub async fn bind(address: SocketAddr, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot listen on {address} for HTTP: {error}"),
            )
        })?;
        Self::serve(listener.into_std()?, router)
    }

    fn serve(listener: std::net::TcpListener, router: Router) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let accepting = TcpListener::from_std(listener.try_clone()?)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let serving = axum::serve(accepting, router).with_graceful_shutdown(async {
                // A sender that was dropped means the same as one that sent.
                let _ = stopped.await;
            });
            if let Err(error) = serving.await {
                tracing::error!("HTTP listener ended: {error}");
            }
        });
        Ok(Self {
            listener,
            address,
            stop,
            task,
        })
    }

    /// Serves these pages instead, from now on; requests in flight get the old ones.
    ///
    /// # Errors
    /// The system does not hand out the listener a second time.
    pub fn show(self, router: Router) -> io::Result<Self> {
        let next = Self::serve(self.listener, router)?;
        let _ = self.stop.send(());
        Ok(next)
    }

    /// The address with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, lets requests in flight finish for a moment and closes all connections.
    pub async fn shutdown(self) {
        let _ = self.stop.send(());
        let mut task = self.task;
        if tokio::time::timeout(LAST_REQUESTS, &mut task)
            .await
            .is_err()
        {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
