//! The same service over a Unix socket: only the address differs. `cargo run --example unix_socket`.

#[rpc::service]
trait Counter {
    async fn add(&self, n: u64) -> u64;
}

#[derive(Default)]
struct Total(std::sync::atomic::AtomicU64);

impl Counter for Total {
    async fn add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, std::sync::atomic::Ordering::Relaxed) + n
    }
}

#[cfg(unix)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("rpc-example-{}.sock", std::process::id()));
    let address = format!("unix:{}", path.display());

    let server = rpc::Server::new().add(CounterServer::new(Total::default())).bind(&address).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve_until(async move {
        stopped.await.ok();
    }));

    let counter = CounterClient::connect(&address).await?;
    // Two calls in flight on one connection.
    let (one, two) = tokio::join!(counter.add(1), counter.add(2));
    println!("1 + 2 -> {}", one?.max(two?));
    counter.close().await;

    stop.send(()).ok();
    serving.await??;
    println!("the socket's file is {}", if path.exists() { "still there" } else { "gone" });
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    eprintln!("this machine has no Unix sockets");
}
