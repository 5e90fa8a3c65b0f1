use super::*;
use axum::extract::Query;
use prometheus::IntCounter;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Head and body of the answer to one request.
async fn ask(server: &HttpServer, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

async fn check(server: &HttpServer, method: &str, path: &str, status: u16, body: &str) {
    let (head, got) = ask(server, method, path).await;
    assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(got, body);
}

async fn serve(router: Router) -> HttpServer {
    HttpServer::bind(([127, 0, 0, 1], 0).into(), router)
        .await
        .unwrap()
}

#[tokio::test]
async fn health_and_readiness_follow_the_server() {
    let (state, states) = watch::channel(Readiness::NotReady("recovering 43 %".into()));
    let pages = router(
        Registry::new(),
        move || states.borrow().clone(),
        Router::new(),
    );
    let server = serve(pages).await;
    check(&server, "GET", "/healthz", 200, r#"{"status":"alive"}"#).await;
    let why = r#"{"code":"NOT_READY","message":"recovering 43 %"}"#;
    check(&server, "GET", "/readyz", 503, why).await;
    state.send(Readiness::Ready).unwrap();
    check(&server, "GET", "/readyz", 200, r#"{"status":"ready"}"#).await;
    server.shutdown().await;
}

#[tokio::test]
async fn pages_of_a_start_give_way_to_those_of_the_server() {
    let server = serve(starting(|| "checking the CommitLog: 43 %".into())).await;
    check(&server, "GET", "/healthz", 200, r#"{"status":"alive"}"#).await;
    let why = r#"{"code":"NOT_READY","message":"checking the CommitLog: 43 %"}"#;
    check(&server, "GET", "/readyz", 503, why).await;
    let address = server.local_addr();
    let server = server
        .show(router(Registry::new(), || Readiness::Ready, Router::new()))
        .unwrap();
    assert_eq!(server.local_addr(), address);
    check(&server, "GET", "/readyz", 200, r#"{"status":"ready"}"#).await;
    server.shutdown().await;
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let registry = Registry::new();
    let counter = IntCounter::new("rocketmq_messages_in_total", "Messages stored.").unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    counter.inc_by(7);
    let server = serve(router(registry, || Readiness::Ready, Router::new())).await;
    let (head, body) = ask(&server, "GET", "/metrics").await;
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(body.contains("\nrocketmq_messages_in_total 7\n"), "{body}");
    server.shutdown().await;
}

#[derive(Deserialize)]
struct Page {
    size: u32,
}

#[tokio::test]
async fn every_error_has_the_same_form() {
    let api = Router::new()
        .route(
            "/n",
            get(async |Query(page): Query<Page>| page.size.to_string()),
        )
        .route(
            "/t/{topic}",
            get(async || HttpError::not_found("TOPIC_NOT_EXIST", "no topic t")),
        );
    let server = serve(router(Registry::new(), || Readiness::Ready, api)).await;
    let body = r#"{"code":"NOT_FOUND","message":"there is no page /x"}"#;
    check(&server, "GET", "/x?y=1", 404, body).await;
    let body = r#"{"code":"TOPIC_NOT_EXIST","message":"no topic t"}"#;
    check(&server, "GET", "/t/t", 404, body).await;
    let body = r#"{"code":"METHOD_NOT_ALLOWED","message":"method not allowed"}"#;
    check(&server, "POST", "/n", 405, body).await;
    let (head, _) = ask(&server, "POST", "/n").await;
    assert!(head.contains("allow: get"), "{head}");
    let (head, body) = ask(&server, "GET", "/n?size=x").await;
    assert!(head.starts_with("http/1.1 400 "), "{head}");
    assert!(
        body.starts_with(r#"{"code":"BAD_REQUEST","message":"Failed to deserialize"#),
        "{body}"
    );
    let (_, body) = ask(&server, "GET", "/n?size=3").await;
    assert_eq!(body, "3");
    server.shutdown().await;
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = serve(Router::new()).await;
    let address = server.local_addr();
    let error = HttpServer::bind(address, Router::new()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot listen on {address} for HTTP: ")),
        "{error}"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn after_the_shutdown_nobody_listens_and_idle_connections_are_closed() {
    let server = serve(Router::new()).await;
    let address = server.local_addr();
    let mut idle = TcpStream::connect(address).await.unwrap();
    server.shutdown().await;
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err());
}
