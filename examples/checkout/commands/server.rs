//! The server alone: a book, the network, the way in, and a drain at the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rpc::tls::ServerTls;
use rpc::transport::Address;
use rpc::{Bound, CallInfo, Http, Server};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Tried;
use crate::access::ApiKeys;
use crate::api::CheckoutServer;
use crate::desk::{self, Desk};
use crate::network::Network;
use crate::network::journal::{Journal, Local};
use crate::recovery;
use crate::service::Counter;
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;
use crate::store::embedded::book_path;
use crate::store::memory::MemoryStore;

#[derive(clap::Args)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub addr: String,
    #[command(flatten)]
    pub place: Place,
    /// The keys that callers must have, one a line. Without it: those in CHECKOUT_API_KEYS, with commas; without both,
    /// everybody may call.
    #[arg(long, value_name = "FILE")]
    pub api_keys: Option<PathBuf>,
    /// How long the simulated card network takes to answer, on average.
    #[arg(long, default_value_t = 2)]
    pub network_ms: u64,
    /// Which delays it takes: the same seed, the same delays.
    #[arg(long, default_value_t = 0)]
    pub network_seed: u64,
    #[command(flatten)]
    pub tls: Tls,
}

/// What a server shows of itself. Then nothing but TLS is spoken on its port; changed files are read again.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Tls {
    /// The server's certificate, with those between it and its authority after it: PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key: PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

impl Tls {
    fn add_to(&self, server: Server) -> Tried<Server> {
        Ok(match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => server.tls(ServerTls::from_pem_files(certificate, key)?),
            _ => server,
        })
    }
}

/// Where the book is. A server without either forgets its payments when it ends.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(multiple = false)]
pub struct Place {
    /// The file of the book. A server makes it if there is none, and keeps beside it what the card network remembers, in
    /// PATH.network.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// A database that several servers share: postgres://..
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

impl Place {
    async fn open(&self) -> Tried<(Arc<dyn Store>, Box<dyn Journal>)> {
        if let Some(url) = &self.store {
            return shared(url).await;
        }
        let Some(path) = self.data.clone().map(book_path) else {
            tracing::warn!("no --data: payments and their keys are forgotten when this process ends");
            return Ok((Arc::new(MemoryStore::new()?), Box::new(Local::default())));
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut journal = path.clone().into_os_string();
        journal.push(".network");
        // The book first: two servers on one file differ about the book, and the second one stops there.
        let store = EmbeddedStore::open(&path)?;
        let journal = Local::open(journal.as_ref())?;
        Ok((Arc::new(store), Box::new(journal)))
    }
}

#[cfg(feature = "postgres")]
async fn shared(url: &str) -> Tried<(Arc<dyn Store>, Box<dyn Journal>)> {
    let store = crate::store::postgres::PostgresStore::open(url).await?;
    let journal = crate::network::shared_journal::SharedJournal::open(url).await?;
    Ok((Arc::new(store), Box::new(journal)))
}

#[cfg(not(feature = "postgres"))]
async fn shared(_url: &str) -> Tried<(Arc<dyn Store>, Box<dyn Journal>)> {
    Err("this program was built without the feature `postgres`".into())
}

/// A server that is ready to serve, and what stops it.
pub struct Ready {
    pub bound: Bound,
    desk: Arc<Desk>,
    pub asks_for_keys: bool,
    closing: watch::Sender<bool>,
    sweeping: JoinHandle<()>,
}

impl Ready {
    /// Opens the book, ends what was left open, and listens.
    pub async fn start(options: &Options) -> Tried<Self> {
        let keys = ApiKeys::load(options.api_keys.as_deref())?;
        let asks_for_keys = keys.is_some();
        let (store, journal) = options.place.open().await?;
        let network = Network::new(journal, options.network_seed, Duration::from_millis(options.network_ms));
        let desk = Arc::new(Desk::new(store, network, Arc::new(desk::now))?);
        recovery::at_start(&desk).await?;
        let (closing, closed) = watch::channel(false);
        let service = CheckoutServer::new(Counter::new(desk.clone(), closed));
        // Asked before any argument is decoded; what it logs of a call are its method and its caller, nothing else.
        let hook = move |call: &CallInfo| {
            let allowed = keys.as_ref().map_or(Ok(()), |keys| keys.check(call));
            match &allowed {
                Ok(()) => tracing::info!(method = call.method, peer = call.peer.address(), "request"),
                Err(error) => tracing::warn!(method = call.method, peer = call.peer.address(), kind = %error.kind(), "request refused"),
            }
            allowed
        };
        // HTTP too, for whoever calls this machine by a name of its own: `docs/http.md`.
        let server = Server::new().add(service).hook(hook).reflection(true).http(Http::new());
        let bound = options.tls.add_to(server)?.bind(&options.addr).await?;
        let swept = desk.clone();
        let sweeping = tokio::spawn(async move { recovery::keep_sweeping(&swept).await });
        Ok(Self { bound, desk, asks_for_keys, closing, sweeping })
    }

    /// Until `stop` is ready, and then until the calls in flight have ended.
    ///
    /// # Errors
    /// When the book has failed. The calls in flight are answered first; a new start will know what became of them.
    pub async fn serve_until(self, stop: impl Future<Output = ()>) -> Tried {
        let Self { bound, desk, closing, sweeping, asks_for_keys: _ } = self;
        let (fail, mut failed) = oneshot::channel();
        let served = bound.serve_until(async move {
            tokio::select! {
                () = stop => {}
                error = desk.store.failure() => {
                    tracing::error!(%error, "the book has failed: no more payments");
                    // Received below.
                    fail.send(error).ok();
                }
            }
            // Streams of events never end by themselves.
            closing.send_replace(true);
        });
        served.await?;
        sweeping.abort();
        failed.try_recv().map_or(Ok(()), |error| Err(error.into()))
    }
}

pub async fn run(options: Options) -> Tried {
    rpc_examples::log_to_stderr();
    let stop = rpc_examples::stop_signal()?;
    let server = Ready::start(&options).await?;
    let address = server.bound.local_addr();
    if !server.asks_for_keys {
        tracing::warn!("no API keys: everybody who reaches this server may call it");
    }
    if options.tls.tls_cert.is_none() && !is_loopback(&address) {
        tracing::warn!("listening beyond this machine without TLS: card numbers travel in clear");
    }
    println!("READY {address}");
    server.serve_until(stop).await?;
    tracing::info!("drained");
    Ok(())
}

fn is_loopback(address: &Address) -> bool {
    address.socket().is_none_or(|socket| socket.ip().is_loopback())
}
