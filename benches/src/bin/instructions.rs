//! A number of calls, or of items, over memory on one thread, for `instructions.py` to count the instructions of. No clock, no socket,
//! no second thread: what is left is the work of both ends, the same in every run.
//!
//! The clock is paused: under valgrind everything takes fifty times as long, and what the ends do when something takes long (a handler
//! that computes is given a task of its own) is not what is counted here.

use std::process::ExitCode;

use rpc::{Limits, Server};
use rpc_benches::types::{Order, Small};
use rpc_benches::{Adder, LoadClient, LoadServer, Over, serve, smalls};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Callers that share a connection.
const CALLERS: u64 = 64;

async fn small(client: LoadClient, calls: u64) {
    for id in 0..calls {
        assert_eq!(client.small(Small::new(id)).await.expect("the call succeeds").id, id);
    }
}

async fn order(client: LoadClient, calls: u64) {
    for id in 0..calls {
        assert_eq!(client.order(Order::sample(id)).await.expect("the call succeeds").order_id, id);
    }
}

async fn download(client: LoadClient, count: u64) {
    let mut items = client.smalls(count).await.expect("the call succeeds");
    let mut came = 0;
    while let Some(item) = items.next().await {
        assert_eq!(item.expect("the item comes").id, came);
        came += 1;
    }
    assert_eq!(came, count);
}

async fn upload(client: LoadClient, count: u64) {
    assert_eq!(client.take_smalls(smalls(count)).await.expect("the call succeeds"), count);
}

async fn at_once<F: Future<Output = ()> + Send + 'static>(client: LoadClient, calls: u64, one: fn(LoadClient, u64) -> F) {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(one(client.clone(), calls / CALLERS));
    }
    callers.join_all().await;
}

async fn run(case: &str, count: u64) -> Result<(), String> {
    let server = Server::new().add(LoadServer::new(Adder));
    let place = serve(Over::Memory, server).await.map_err(|error| error.to_string())?;
    let client = LoadClient::from(place.connect(Limits::default()).await.map_err(|error| error.to_string())?);
    match case {
        "small" => at_once(client, count, small).await,
        "lone" => small(client, count).await,
        "order" => at_once(client, count, order).await,
        "download" => download(client, count).await,
        "upload" => upload(client, count).await,
        _ => return Err(format!("no case {case}")),
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (case, count) = match &arguments[..] {
        [case, count] => (case, count.parse().unwrap_or(0)),
        _ => {
            eprintln!("usage: instructions small|lone|order|download|upload COUNT");
            return ExitCode::from(2);
        }
    };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    match runtime.block_on(run(case, count)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
