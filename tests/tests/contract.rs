//! The table that a trait becomes: what both ends know of a service before a value travels. Its hashes are tested in the library.

use std::time::Duration;

use rpc::{Context, Service, service};

/// Sells things.
///
/// By the piece.
#[service(name = "shop.v1")]
trait Shop {
    /// Zebras are quoted last.
    async fn zebra(&self, r#type: u8, name: &str) -> u8;
    #[rpc(idempotent, timeout = "250ms")]
    async fn price(&self, sku: &str) -> Result<u64, String>;
    #[rpc(name = "a", detached, spawn)]
    async fn pay(&self, cx: &Context, amount: u64) -> u64;
    #[rpc(oneway)]
    async fn note(&self);
}

struct Mine;

impl Shop for Mine {
    async fn zebra(&self, _: u8, _: &str) -> u8 {
        1
    }
    async fn price(&self, _: &str) -> Result<u64, String> {
        Ok(1)
    }
    async fn pay(&self, _: &Context, amount: u64) -> u64 {
        amount
    }
    async fn note(&self) {}
}

#[test]
fn methods_stand_in_the_order_of_their_wire_names() {
    let contract = ShopServer::new(Mine).contract();
    assert_eq!(contract.name, "shop.v1");
    assert_eq!(contract.docs, "Sells things.\n\nBy the piece.");
    let names: Vec<_> = contract.methods.iter().map(|method| method.name).collect();
    assert_eq!(names, ["a", "note", "price", "zebra"]);
}

#[test]
fn the_table_says_what_the_options_said() {
    let [pay, note, price, zebra] = ShopServer::new(Mine).contract().methods else { panic!("four methods") };
    assert!(pay.detached && pay.spawn && pay.context && !pay.oneway && !pay.idempotent);
    assert!(note.oneway && !note.context && note.timeout.is_none());
    assert!(price.idempotent && !price.detached && !price.spawn);
    assert_eq!(price.timeout, Some(Duration::from_millis(250)));
    assert_eq!(zebra.docs, "Zebras are quoted last.");
}

#[test]
fn the_context_is_no_argument_of_the_contract() {
    let [pay, note, _, zebra] = ShopServer::new(Mine).contract().methods else { panic!("four methods") };
    assert_eq!(pay.arguments, ["amount"]);
    assert!(note.arguments.is_empty());
    assert_eq!(zebra.arguments, ["type", "name"]);
}

#[test]
fn every_method_has_a_handler() {
    let server = ShopServer::new(Mine);
    for method in 0..server.contract().methods.len() {
        drop(server.handler(method));
    }
}
