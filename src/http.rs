//! HTTP for monitoring: `/metrics`, `/healthz`, `/readyz`, `/status.json`, `/history.json`, and a page at `/`.
//!
//! Everything is read from the [`Report`] that `binrelay status` shows, at most a second old, and nothing can be changed
//! here. Connections are bounded in number and in time, and end with their first answer, so that no client can hold the
//! relay's descriptors or keep it busy.

mod access;
mod history;
mod metrics;
mod page;
mod reports;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use self::access::Access;
use self::history::History;
use self::reports::Reports;
use crate::fault;
use crate::secret::Secret;
use crate::status::Report;

/// The most connections at once; more wait in the backlog of the listening socket.
const CONNECTIONS_MAX: usize = 256;
/// Time limit for the head of a request, from the connection on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of a connection, which has one request and its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after accepting a client failed, e.g. because no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The media type of `/metrics`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is answered, and to whom.
#[derive(Clone)]
struct Answering {
    reports: Arc<Reports>,
    history: Arc<History>,
    page: Arc<page::Page>,
}

/// Opens the socket.
///
/// # Errors
/// When the address is in use, or not one of this machine.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until the relay stops. With a `token`, clients must present it.
pub async fn serve(
    listener: TcpListener,
    token: Option<Secret>,
    report: Arc<dyn Fn() -> Report + Send + Sync>,
    mut shutdown: watch::Receiver<bool>,
) {
    let history = Arc::new(History::default());
    let reports = Arc::new(Reports::new(report));
    let sampling = history::sample(history.clone(), reports.clone());
    let router = router(reports, history, Access::new(token));
    let accepting = accept(listener, router);
    tokio::select! {
        () = accepting => {}
        () = sampling => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

fn router(reports: Arc<Reports>, history: Arc<History>, access: Access) -> Router {
    let answering = Answering {
        reports,
        history,
        page: Arc::new(page::Page::new()),
    };
    let guard = middleware::from_fn_with_state(Arc::new(access), access::guard);
    let guarded = Router::new()
        .route("/", get(show_page))
        .route("/metrics", get(show_metrics))
        .route("/status.json", get(show_status))
        .route("/history.json", get(show_history))
        .layer(guard);
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(guarded)
        .with_state(answering)
}

async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                fault::inject("http_loop");
                let router = router.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer(client, router).await {
                        tracing::debug!("a client of the HTTP listener: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept an HTTP client: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(client: TcpStream, router: Router) -> Result<(), hyper::Error> {
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(client), TowerToHyperService::new(router));
    // An error of the client, or the end of its time: the connection is closed either way.
    match tokio::time::timeout(CONNECTION_TIMEOUT, serving).await {
        Ok(served) => served,
        Err(_) => Ok(()),
    }
}

/// The process answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The answer when no report could be made.
const NO_REPORT: (StatusCode, &str) = (
    StatusCode::INTERNAL_SERVER_ERROR,
    "the report could not be made; see the log\n",
);

/// Whether an administrator must look; the reasons are in `/status.json`, which not everybody may read.
async fn readyz(State(answering): State<Answering>) -> (StatusCode, &'static str) {
    match answering.reports.newest().await {
        Some(report) if report.is_degraded() => (StatusCode::SERVICE_UNAVAILABLE, "degraded\n"),
        Some(_) => (StatusCode::OK, "ready\n"),
        None => NO_REPORT,
    }
}

async fn show_status(State(answering): State<Answering>) -> Response {
    match answering.reports.newest().await {
        Some(report) => json(serde_json::to_string(&*report)),
        None => NO_REPORT.into_response(),
    }
}

async fn show_history(State(answering): State<Answering>) -> Response {
    json(serde_json::to_string(&answering.history.samples()))
}

fn json(text: serde_json::Result<String>) -> Response {
    match text {
        Ok(text) => with_type("application/json", text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn show_metrics(State(answering): State<Answering>) -> Response {
    let Some(report) = answering.reports.newest().await else {
        return NO_REPORT.into_response();
    };
    match metrics::text(&report) {
        Ok(text) => with_type(OPENMETRICS, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn with_type(media_type: &'static str, text: String) -> Response {
    let headers = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

async fn show_page(State(answering): State<Answering>) -> Response {
    answering.page.response()
}
