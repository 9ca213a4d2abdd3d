//! A server and a client that reach each other over one of the transports.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rpc::transport::{Transport, memory};
use rpc::{Client, ClientOptions, Error, Limits, Server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::count::{Counts, counted};
use crate::{LabClient, LabServer, Pki, TestLab};

/// How the bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Tcp6,
    Unix,
    Memory,
    /// TCP with TLS, certificates on both sides.
    Tls,
    /// `LabClient::local`.
    Local,
    /// `Transport::over` a stream of the caller's own.
    Over,
}

pub struct Rig {
    pub kind: Kind,
    pub client: LabClient,
    pub lab: Arc<TestLab>,
    /// Of kinds that can be counted: what the client's end moved.
    pub counts: Option<Arc<Counts>>,
    stop: Option<oneshot::Sender<()>>,
    /// The files that both ends read again when they change.
    _pki: Option<Pki>,
    task: Option<JoinHandle<Result<(), Error>>>,
}

/// A server of a lab, with a run-time method.
pub fn server(lab: &Arc<TestLab>) -> Server {
    Server::new().add(LabServer::shared(lab.clone())).add(crate::flows::server(lab)).method("double", |n: u64| async move { 2 * n })
}

/// Where a Unix socket of a test may be.
pub fn socket_path() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    std::env::temp_dir().join(format!("rpc-tests-{}-{}.sock", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

impl Rig {
    pub async fn new(kind: Kind) -> Self {
        Self::with(kind, |server| server, Client::options()).await
    }

    /// Over memory, both ends with these limits.
    pub async fn limited(limits: Limits) -> Self {
        Self::with(Kind::Memory, |server| server.limits(limits), Client::options().limits(limits)).await
    }

    pub async fn with(kind: Kind, change: impl FnOnce(Server) -> Server, options: ClientOptions) -> Self {
        let lab = TestLab::new();
        let server = change(server(&lab));
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let mut pki = None;
        let (client, task) = match kind {
            Kind::Tcp | Kind::Tcp6 => {
                let server = server.bind(if kind == Kind::Tcp { "127.0.0.1:0" } else { "[::1]:0" }).await.unwrap();
                let address = server.local_addr();
                assert_ne!(address.port(), Some(0), "the port that was given");
                let task = tokio::spawn(server.serve_until(stopped));
                (options.connect(address).await.unwrap(), Some(task))
            }
            Kind::Unix => {
                let server = server.bind(format!("unix:{}", socket_path().display())).await.unwrap();
                let address = server.local_addr();
                let task = tokio::spawn(server.serve_until(stopped));
                (options.connect(address).await.unwrap(), Some(task))
            }
            Kind::Memory => {
                let (listener, dialer) = memory::pair();
                let task = tokio::spawn(server.listen(listener).unwrap().serve_until(stopped));
                (options.dial(dialer).await.unwrap(), Some(task))
            }
            Kind::Tls => {
                let pki = pki.insert(Pki::new());
                let server = server.tls(pki.mutual_tls()).bind("127.0.0.1:0").await.unwrap();
                let address = server.local_addr();
                let task = tokio::spawn(server.serve_until(stopped));
                (options.tls(pki.client_tls_as("client")).connect(address).await.unwrap(), Some(task))
            }
            Kind::Local => (Client::local(LabServer::shared(lab.clone())), None),
            Kind::Over => {
                let (near, far) = tokio::io::duplex(16 << 10);
                let task = tokio::spawn(server.serve_connection(Transport::over(far, "far")));
                (options.over(Transport::over(near, "near")), Some(task))
            }
        };
        Self { kind, client: client.into(), lab, counts: None, stop: Some(stop), _pki: pki, task }
    }

    /// As [`new`](Self::new), with the client's end counted. Over a transport that the library makes, and wraps, none is.
    pub async fn counted(kind: Kind) -> Self {
        let lab = TestLab::new();
        let server = server(&lab);
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let (transport, counts, task) = match kind {
            Kind::Tcp | Kind::Tcp6 => {
                let server = server.bind(if kind == Kind::Tcp { "127.0.0.1:0" } else { "[::1]:0" }).await.unwrap();
                let stream = tokio::net::TcpStream::connect(server.local_addr().socket().unwrap()).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (read, write) = stream.into_split();
                let (transport, counts) = counted(read, write, "tcp");
                (transport, counts, tokio::spawn(server.serve_until(stopped)))
            }
            Kind::Unix => {
                let path = socket_path();
                let server = server.bind(format!("unix:{}", path.display())).await.unwrap();
                let (read, write) = tokio::net::UnixStream::connect(&path).await.unwrap().into_split();
                let (transport, counts) = counted(read, write, "unix");
                (transport, counts, tokio::spawn(server.serve_until(stopped)))
            }
            Kind::Tls => panic!("TLS is not counted: its bytes are its own"),
            Kind::Memory | Kind::Local | Kind::Over => {
                let (near, far) = tokio::io::duplex(64 << 10);
                let (read, write) = tokio::io::split(near);
                let (transport, counts) = counted(read, write, "near");
                (transport, counts, tokio::spawn(server.serve_connection(Transport::over(far, "far"))))
            }
        };
        let client = Client::options().over(transport).into();
        Self { kind, client, lab, counts: Some(counts), stop: Some(stop), _pki: None, task: Some(task) }
    }

    /// Tells the server to drain.
    pub fn stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).expect("it runs");
    }

    /// Waits until the server has ended.
    pub async fn ended(&mut self) {
        self.task.take().expect("waited for once").await.unwrap().unwrap();
    }

    /// Drops the server as a crash would: connections, handlers and all.
    pub async fn crash(&mut self) {
        let task = self.task.take().expect("it runs");
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
}

/// Tests over the transports: the cases are `async fn case(kind: Kind)` beside it.
#[macro_export]
macro_rules! over_each_transport {
    ($($case:ident)*) => {
        $crate::over!(tcp Tcp "current_thread" $($case)*);
        $crate::over!(tcp_on_two_threads Tcp "multi_thread" $($case)*);
        $crate::over!(unix Unix "current_thread" $($case)*);
        $crate::over!(memory Memory "current_thread" $($case)*);
        $crate::over!(memory_on_two_threads Memory "multi_thread" $($case)*);
        $crate::over!(any_stream Over "current_thread" $($case)*);
        $crate::over!(tls Tls "current_thread" $($case)*);
    };
}

/// The same over one of them.
#[macro_export]
macro_rules! over {
    ($module:ident $kind:ident $flavor:literal $($case:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = $flavor)]
                async fn $case() {
                    // A machine may be without IPv6.
                    if $crate::Kind::$kind == $crate::Kind::Tcp6 && std::net::TcpListener::bind("[::1]:0").is_err() {
                        println!("no IPv6 here");
                        return;
                    }
                    super::$case($crate::Kind::$kind).await;
                }
            )*
        }
    };
}
