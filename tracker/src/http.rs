//! Announce and scrape over HTTP.
//!
//! Decides how a connection is served and for how long; what is answered is the store's matter. Every request ends
//! in bencode with status 200, since clients read no other, except what is no tracker request at all.

use crate::server::Service;
use crate::store::Families;
use axum::Router;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{Request, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gaggle_core::proto::tracker_http::{
    AnnounceQuery, Layout, ScrapeQuery, encode_announce, encode_failure, encode_scrape,
};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A request head must be complete this long after the last answer (or after the connection came); so this also
/// ends idle connections.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// A connection is asked to end after this long, which also frees those that never read their answers.
const CONNECTION_LIFE: Duration = Duration::from_secs(120);
/// What an answer under way gets when its connection has to end.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// Bytes of a request head; a longer one is answered 431 and closed. A scrape of 74 hashes takes 5 300.
const HEAD_MAX: usize = 16 * 1024;
/// Headers of a request; with more it is answered 431 and closed.
const HEADERS_MAX: usize = 64;
/// A pause after a failed accept, most likely for want of file descriptors.
const ACCEPT_ERROR_PAUSE: Duration = Duration::from_millis(50);

/// The paths; each request needs a `ConnectInfo<SocketAddr>`.
fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/announce", get(announce))
        .route("/scrape", get(scrape))
        .route("/stats", get(stats))
        .with_state(service)
}

/// Serves connections until it is aborted, at most `connections_max` at a time; further ones wait in the kernel's
/// backlog, not for long because of the deadlines above.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>, connections_max: usize) {
    let slots = Arc::new(Semaphore::new(connections_max));
    let router = router(service);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                // When few slots are left, one request is all a connection gets.
                let keep_alive = slots.available_permits() >= connections_max / 4;
                let router = router.clone();
                connections.spawn(async move {
                    connection(stream, from, router, keep_alive).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_ERROR_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, from: SocketAddr, router: Router, keep_alive: bool) {
    let _ = stream.set_nodelay(true);
    let inner = TowerToHyperService::new(router);
    let with_origin = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        inner.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(keep_alive)
        .half_close(true) // a client may say that it has said everything, and still listen
        .serve_connection(TokioIo::new(stream), with_origin);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tokio::time::sleep(CONNECTION_LIFE) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "connection ended early");
    }
}

/// A body of bencode, which by custom goes as plain text.
struct Bencoded(Vec<u8>);

impl IntoResponse for Bencoded {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/plain")], self.0).into_response()
    }
}

//= BEP 3 §trackers
//= BEP 23
async fn announce(
    State(service): State<Arc<Service>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery, // not `Query<T>`: an info hash is 20 raw bytes, rarely valid UTF-8
) -> Bencoded {
    let AnnounceQuery { announce, compact, no_peer_id } =
        match AnnounceQuery::parse(query.as_deref().unwrap_or_default()) {
            Ok(query) => query,
            Err(error) => return Bencoded(encode_failure(&error.to_string(), None)),
        };
    let now = service.clock.now();
    let layout = if compact { Layout::Compact } else { Layout::Dicts { ids: !no_peer_id } };
    Bencoded(match service.store.announce(now, from.ip(), &announce, Families::Both) {
        Ok(told) => encode_announce(&told.terms, &told.peers, layout),
        Err(refusal) => encode_failure(&refusal.to_string(), refusal.retry_in()),
    })
}

//= BEP 48
async fn scrape(State(service): State<Arc<Service>>, RawQuery(query): RawQuery) -> Bencoded {
    let now = service.clock.now();
    Bencoded(match ScrapeQuery::parse(query.as_deref().unwrap_or_default()) {
        Ok(ScrapeQuery { hashes }) => {
            let counted = hashes.into_iter().map(|hash| (hash, service.store.scrape(now, hash)));
            encode_scrape(&counted.collect::<Vec<_>>())
        }
        Err(error) => encode_failure(&error.to_string(), None),
    })
}

async fn stats(State(service): State<Arc<Service>>) -> String {
    let crate::store::Stats { torrents, peers } = service.store.stats();
    format!("torrents {torrents}\npeers {peers}\n")
}
