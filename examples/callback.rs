//! A server that calls its client back, over the same connection: it asks before it acts, and tells of what happens later.
//! `cargo run --example callback`.

use std::sync::Mutex;

use rpc::{Client, Context, Server};

/// What the client calls.
#[rpc::service]
trait Cleaner {
    /// Removes what the caller agrees to, and says how much that was.
    async fn clean(&self, cx: &Context, folder: String) -> usize;
    /// From now on the caller hears what others do.
    async fn watch(&self, cx: &Context);
}

/// What the server calls, of whoever called it.
#[rpc::service]
trait Owner {
    async fn may_remove(&self, file: &str) -> bool;
    async fn was_cleaned(&self, folder: String);
}

#[derive(Default)]
struct Disk {
    watchers: Mutex<Vec<OwnerClient>>,
}

impl Cleaner for Disk {
    async fn clean(&self, cx: &Context, folder: String) -> usize {
        let owner = OwnerClient::from(cx.caller());
        let mut removed = 0;
        for file in ["notes.txt", "cache.bin", "log.old"] {
            // The call back has no more time than the call, and ends with it. Who cannot be asked has not agreed.
            if owner.may_remove(file).await.unwrap_or(false) {
                removed += 1;
            }
        }
        let watchers = self.watchers.lock().expect("no panic under this lock").clone();
        for watcher in watchers {
            // Whoever has gone need not know.
            watcher.was_cleaned(folder.clone()).await.ok();
        }
        removed
    }

    async fn watch(&self, cx: &Context) {
        // It may be kept for longer than the call; it keeps no connection open.
        self.watchers.lock().expect("no panic under this lock").push(OwnerClient::from(cx.caller()));
    }
}

/// The client's side of it.
struct Careful(&'static str);

impl Owner for Careful {
    async fn may_remove(&self, file: &str) -> bool {
        let agreed = !file.ends_with(".txt");
        println!("  {} is asked about {file}: {}", self.0, if agreed { "yes" } else { "no" });
        agreed
    }

    async fn was_cleaned(&self, folder: String) {
        println!("  {} hears that {folder} was cleaned", self.0);
    }
}

#[tokio::main]
async fn main() -> Result<(), rpc::Error> {
    let server = Server::new().add(CleanerServer::new(Disk::default())).bind("127.0.0.1:0").await?;
    let address = server.local_addr();
    tokio::spawn(server.serve());

    let connect = async |name| {
        // All it takes to be called: something to serve.
        let client = Client::options().serve(Server::new().add(OwnerServer::new(Careful(name))))?.connect(&address).await?;
        Ok::<_, rpc::Error>(CleanerClient::from(client))
    };
    let ann = connect("ann").await?;
    let bob = connect("bob").await?;

    bob.watch().await?;
    println!("ann cleans /tmp");
    println!("{} files are gone", ann.clean("/tmp".to_owned()).await?);

    println!("bob cleans /var");
    println!("{} files are gone", bob.clean("/var".to_owned()).await?);

    ann.close().await;
    bob.close().await;
    Ok(())
}
