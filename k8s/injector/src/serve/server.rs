//! The webhook's server: reviews over TLS; health and metrics over plain HTTP, or as a web configuration says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::service::TowerToHyperService;
use scoretap_web::config::{Source, Web};
use scoretap_web::listen::Listen;
use scoretap_web::server::{Limits, Server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::metrics::Metrics;
use super::review::{self, Exempt};
use crate::settings::Settings;

/// An API object has at most 1.5 MiB, and a review contains two.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// The time for which the API server may still send reviews after the pod started to terminate.
const LAST_REVIEWS: Duration = Duration::from_secs(5);

/// The options of the webhook.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Address for reviews.
    pub listen: Listen,
    /// Address for health and metrics.
    pub metrics: Listen,
    /// The certificate of the webhook, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// TLS and users of health and metrics.
    pub web_config: Option<PathBuf>,
    /// The operator's settings.
    pub settings: Settings,
    /// Namespaces in which nothing changes.
    pub exempt: Exempt,
}

struct App {
    settings: Settings,
    exempt: Exempt,
    metrics: Arc<Metrics>,
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(serving: Serving) -> Result<()> {
    let ending = ending()?;
    let metrics = Arc::new(Metrics::default());
    let Serving { certificate, key, .. } = serving;
    let webhook = open(Source::Certificate { certificate, key })?;
    let plain = open(Source::from(serving.web_config))?;
    let (reviews, health) = (listen(&serving.listen).await?, listen(&serving.metrics).await?);
    for (path, listener) in [("/mutate", &reviews), ("/metrics", &health)] {
        log::info!(address:% = listener.local_addr()?, path; "listening");
    }
    let app = App { settings: serving.settings, exempt: serving.exempt, metrics: Arc::clone(&metrics) };
    tokio::join!(
        serve(reviews, Arc::clone(&webhook), routes(app), ended(ending.clone())),
        serve(health, plain, pages(metrics, webhook), ended(ending)),
    );
    Ok(())
}

fn open(source: Source) -> Result<Arc<Web>> {
    Web::open(source).map(Arc::new).map_err(|faults| anyhow!(faults.join("\n")))
}

async fn listen(address: &Listen) -> Result<TcpListener> {
    address.bind().await.with_context(|| {
        format!("cannot listen on {address}; stop what listens there, or choose another address")
    })
}

/// The API server waits for a webhook at most as long.
const REQUEST_TIME: Duration = Duration::from_secs(30);

async fn serve(listener: TcpListener, web: Arc<Web>, router: Router, end: impl Future<Output = ()>) {
    let server = Server::new(web, Limits { request: REQUEST_TIME, ..Limits::default() });
    server.run::<Body>(vec![listener], TowerToHyperService::new(router), end).await;
}

fn routes(app: App) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(app))
}

fn pages(metrics: Arc<Metrics>, webhook: Arc<Web>) -> Router {
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let metrics = move || async move {
        // Counts a certificate that changed since the last review.
        webhook.current().await;
        (text, metrics.text(&webhook.counts().snapshot()))
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(|| async { "ready\n" }))
}

async fn mutate(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let start = Instant::now();
    match review::answer(&body, &app.settings, &app.exempt) {
        Ok(answer) => {
            app.metrics.review(answer.kind, answer.decision, start.elapsed());
            ([(header::CONTENT_TYPE, "application/json")], answer.body).into_response()
        }
        Err(error) => {
            app.metrics.malformed();
            (StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response()
        }
    }
}

/// Becomes true after a signal and the time for last reviews.
fn ending() -> Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tokio::time::sleep(LAST_REVIEWS).await,
            _ = interrupt.recv() => {}
        }
        let _ = sender.send(true);
    });
    Ok(receiver)
}

async fn ended(mut ending: watch::Receiver<bool>) {
    drop(ending.wait_for(|ended| *ended).await);
}
