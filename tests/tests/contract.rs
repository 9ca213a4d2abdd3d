//! The table that a trait becomes: what both ends know of a service before a value travels. Its hashes are tested in the library.

use std::time::Duration;

use rpc::{Client, Context, ErrorKind, Executed, Server, Service, service};
use rpc_tests::log::Log;
use serde::{Deserialize, Serialize};

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

#[service]
trait Store<V> {
    async fn echo(&self, value: V) -> Vec<V>;
}

impl<V: Serialize + for<'de> Deserialize<'de> + Clone + Send + Sync + 'static> Store<V> for Mine {
    async fn echo(&self, value: V) -> Vec<V> {
        vec![value.clone(), value]
    }
}

#[tokio::test]
async fn two_choices_of_types_work_side_by_side_and_are_not_taken_for_each_other() {
    let numbers = Client::local(StoreServer::<_, u32>::new(Mine));
    let texts = Client::local(StoreServer::<_, String>::new(Mine));
    for _ in 0..2 {
        assert_eq!(StoreClient::<u32>::from(numbers.clone()).echo(7).await.unwrap(), [7, 7]);
        assert_eq!(StoreClient::<String>::from(texts.clone()).echo("a".to_owned()).await.unwrap(), ["a", "a"]);
        for error in [
            StoreClient::<String>::from(numbers.clone()).echo("a".to_owned()).await.unwrap_err(),
            StoreClient::<u32>::from(texts.clone()).echo(7).await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Incompatible, Executed::No), "{error}");
        }
    }
}

/// Postcard does not say what comes next, which an untagged enum would have to know.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Guess {
    Number(u8),
    Text(String),
}

#[service(untested)]
trait Guesses {
    async fn guess(&self, guess: Guess) -> u8;
}

impl Guesses for Mine {
    async fn guess(&self, guess: Guess) -> u8 {
        match guess {
            Guess::Number(number) => number,
            Guess::Text(_) => 0,
        }
    }
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn a_type_that_does_not_travel_is_logged_once_when_it_is_first_served() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    for _ in 0..2 {
        drop(Server::new().add(GuessesServer::new(Mine)).bind("127.0.0.1:0").await.unwrap());
    }
    let lines: Vec<_> = log.take().into_iter().filter(|line| line.contains("Guesses.guess: guess: Guess: ")).collect();
    let named = lines.iter().filter(|line| line.starts_with("Guesses.guess: guess: Guess: #[serde(untagged)]"));
    assert_eq!(named.count(), 1, "{lines:?}");
}
