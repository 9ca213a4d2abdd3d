//! Server and client in one command, over a real socket and a real file: the steps, a drain with work in flight, an audit.

use std::path::PathBuf;

use tokio::sync::oneshot;

use super::server::{Options, Place, Ready};
use super::steps::Steps;
use super::{Tried, Trust, card, connect, unique};
use crate::access::Caller;
use crate::api::{CheckoutClient, Currency, Money, Status};
use crate::domain::audit::audit;
use crate::store::embedded::read_book;

/// A folder that goes when the story ends, however it ends.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing better can be done with a folder that stays.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub async fn run() -> Tried {
    rpc_examples::log_warnings_to_stderr();
    let folder = Folder(std::env::temp_dir().join(format!("checkout-{}", unique())));
    let book = folder.0.join("checkout.redb");
    let place = Place { data: Some(book.clone()), store: None };
    let options = Options { addr: "127.0.0.1:0".into(), place, api_keys: None, network_ms: 2, network_seed: 0, tls: Default::default() };
    let server = Ready::start(&options).await?;
    let address = server.bound.local_addr().to_string();
    println!("listening on {address}");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        // The sender never goes without sending; if it did, that would be a reason to stop too.
        server.serve_until(async { drop(stopped.await) }).await.map_err(|error| error.to_string())
    });

    let steps = Steps::begin(&address, &Trust::default()).await?;
    println!("connected to {address}");
    steps.tell().await?;

    println!("8. the server drains with work in flight");
    let shop = connect(&address, &Trust::default(), None).await?;
    let in_flight = slow_payment(&shop).await?;
    println!("   pay        a slow issuer                in flight");
    stop.send(()).map_err(|()| "the server has stopped already")?;
    println!("   drain      no new calls");
    let receipt = in_flight.await??;
    println!("   pay        a slow issuer                captured {}", receipt.captured);
    steps.goodbye().await;
    shop.close().await;
    println!("disconnected");
    serving.await??;
    println!("drained");

    let report = audit(&read_book(&book)?);
    if let Some(fault) = report.faults.first() {
        return Err(format!("the books do not balance: {fault}").into());
    }
    let captured = report.charges.iter().filter(|charge| charge.captured > 0).count();
    println!("the books balance: {} charges, {captured} of them captured", report.charges.len());
    Ok(())
}

type Paying = tokio::task::JoinHandle<Result<crate::api::Receipt, rpc::CallError<crate::api::PayError>>>;

/// A payment that is surely under way: the book says so.
async fn slow_payment(shop: &CheckoutClient) -> Tried<Paying> {
    let caller = Caller::from_environment();
    let token = caller.sign(shop.tokenize(card("4000000000006009"))).await?.token;
    let (key, order) = (unique().try_into()?, unique().try_into()?);
    let key: crate::api::IdempotencyKey = key;
    let paying = tokio::spawn(caller.sign(shop.pay(key.clone(), order, Money::new(1990, Currency::Usd), token)).owned());
    while caller.sign(shop.status(&key)).await? == Status::NotFound {}
    Ok(paying)
}
