//! The table that a trait becomes: what both ends know of a service before a value travels.

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

/// Its hashes are compared with each other; no method is called.
mod hashes {
    #[rpc::service]
    pub(crate) trait Base {
        async fn get(&self, key: u8, rows: &[(u8, String)]) -> Result<Vec<u8>, String>;
    }
    pub(crate) mod spaced {
        #[rpc::service(name = "Base")]
        pub(crate) trait Spaced {
            #[rustfmt::skip]
            async fn get(&self, key:u8, rows:&[ ( u8 , String ) ]) -> Result < Vec<u8> , String , >;
        }
    }
    pub(crate) mod changed {
        #[rpc::service(name = "Base")]
        pub(crate) trait Changed {
            #[rpc(name = "get")]
            async fn renamed(&self, id: u8, rows: &[(u8, String)]) -> Result<Vec<u8>, String>;
            async fn typed(&self, key: u16) -> u8;
        }
    }
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

impl hashes::Base for Mine {
    async fn get(&self, _: u8, _: &[(u8, String)]) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

impl hashes::spaced::Spaced for Mine {
    async fn get(&self, _: u8, _: &[(u8, String)]) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

impl hashes::changed::Changed for Mine {
    async fn renamed(&self, _: u8, _: &[(u8, String)]) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
    async fn typed(&self, _: u16) -> u8 {
        1
    }
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
fn a_hash_depends_on_names_and_types_and_not_on_spaces() {
    let base = hashes::BaseServer::new(Mine).contract().methods;
    let spaced = hashes::spaced::SpacedServer::new(Mine).contract().methods;
    let changed = hashes::changed::ChangedServer::new(Mine).contract().methods;
    assert_eq!(base[0].hash, spaced[0].hash);
    assert_eq!(changed[0].name, "get");
    assert_ne!(base[0].hash, changed[0].hash);
    assert_ne!(changed[0].hash, changed[1].hash);
}

#[test]
fn every_method_has_a_handler() {
    let server = ShopServer::new(Mine);
    for method in 0..server.contract().methods.len() {
        drop(server.handler(method));
    }
}
