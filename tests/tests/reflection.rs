//! What a server says of itself, and to whom.

use std::collections::BTreeMap;

use futures_util::stream;
use rpc::reflection::{Reflection, ReflectionClient, ReflectionServer, Service};
use rpc::transport::memory;
use rpc::{CallInfo, Client, Context, Error, ErrorKind, Executed, Limits, Server, Stream, Streaming};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Sells.
///
/// And buys.
#[rpc::service(name = "shop.v1")]
trait Shop {
    /// What it costs.
    #[rpc(idempotent, timeout = "1500ms")]
    async fn price(&self, cx: &Context, sku: &str, currency: Option<Currency>) -> Result<Money, PriceError>;
    async fn buy(&self, order: Order) -> Receipt;
    #[deprecated = "use `buy`"]
    async fn take(&self);
    #[deprecated]
    async fn give(&self);
    #[rpc(oneway, name = "note-it")]
    async fn note(&self, text: String);
    fn events(&self, after: u64) -> impl Stream<Item = Event>;
    async fn import(&self, rows: Streaming<Vec<u8>>) -> Result<u64, String>;
    async fn watch(&self, skus: BTreeMap<String, (u8, bool)>) -> Result<impl Stream<Item = Event>, PriceError>;
}

#[derive(Serialize, Deserialize)]
enum Currency {
    Euro,
    Yen,
}

#[derive(Serialize, Deserialize)]
struct Money(u64, Currency);

#[derive(Debug, Serialize, Deserialize)]
enum PriceError {
    Unknown { sku: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[serde(alias = "rows")]
    lines: Vec<Line>,
    #[serde(default)]
    express: bool,
    r#type: char,
}

#[derive(Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
    /// Recursion.
    with: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Receipt {
    total: Money,
}

#[derive(Serialize, Deserialize)]
struct Event;

struct Stall;

#[allow(deprecated)]
impl Shop for Stall {
    async fn price(&self, _: &Context, sku: &str, _: Option<Currency>) -> Result<Money, PriceError> {
        Err(PriceError::Unknown { sku: sku.to_owned() })
    }
    async fn buy(&self, _: Order) -> Receipt {
        Receipt { total: Money(1, Currency::Yen) }
    }
    async fn take(&self) {}
    async fn give(&self) {}
    async fn note(&self, _: String) {}
    fn events(&self, _: u64) -> impl Stream<Item = Event> {
        stream::empty()
    }
    async fn import(&self, _: Streaming<Vec<u8>>) -> Result<u64, String> {
        Ok(0)
    }
    async fn watch(&self, _: BTreeMap<String, (u8, bool)>) -> Result<impl Stream<Item = Event>, PriceError> {
        Ok(stream::empty())
    }
}

const TRAIT: &str = r#"/// Sells.
///
/// And buys.
#[rpc::service(name = "shop.v1")]
pub trait ShopV1 {
    async fn buy(&self, order: Order) -> Receipt;

    fn events(&self, after: u64) -> impl Stream<Item = Event>;

    #[deprecated]
    async fn give(&self);

    async fn import(&self, rows: Streaming<Vec<u8>>) -> Result<u64, String>;

    #[rpc(name = "note-it", oneway)]
    async fn note_it(&self, text: String);

    /// What it costs.
    #[rpc(idempotent, timeout = "1500ms")]
    async fn price(&self, sku: String, currency: Option<Currency>) -> Result<Money, PriceError>;

    #[deprecated = "use `buy`"]
    async fn take(&self);

    async fn watch(
        &self,
        skus: Map<String, (u8, bool)>,
    ) -> Result<impl Stream<Item = Event>, PriceError>;
}

#[serde(deny_unknown_fields)]
struct Order {
    #[serde(alias = "rows")]
    lines: Vec<Line>,
    #[serde(default)]
    express: bool,
    r#type: char,
}

struct Receipt {
    total: Money,
}

struct Event;

enum Currency {
    Euro,
    Yen,
}

struct Money(u64, Currency);

enum PriceError {
    Unknown { sku: String },
}

struct Line {
    sku: String,
    quantity: u32,
    with: Vec<Line>,
}
"#;

#[derive(Deserialize)]
#[allow(dead_code)]
struct Item {
    name: String,
}

/// A server with a bit of everything.
fn server() -> Server {
    Server::new()
        .method("ping", |n: u64, items: Vec<Item>| async move { n + items.len() as u64 })
        .method("flip", |item: Item| async move { if item.name.is_empty() { Err(Event) } else { Ok(item.name) } })
        .add(ShopServer::new(Stall))
        .reflection(true)
}

async fn client(server: Server) -> Client {
    let (listener, dialer) = memory::pair();
    tokio::spawn(server.listen(listener).unwrap().serve());
    Client::options().dial(dialer).await.unwrap()
}

#[tokio::test]
async fn a_server_says_nothing_of_itself_unless_it_is_told_to() {
    let client = client(Server::new().add(ShopServer::new(Stall))).await;
    for error in [
        ReflectionClient::from(client.clone()).services().await.unwrap_err(),
        client.call::<Value>("rpc.Reflection.services", ()).await.unwrap_err(),
        client.call::<Value>("rpc.Reflection.schema", ("shop.v1",)).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No), "{error}");
    }
}

#[tokio::test]
async fn a_service_reads_as_the_trait_that_its_author_wrote() {
    let services = ReflectionClient::from(client(server()).await).services().await.unwrap();
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["shop.v1", "rpc.Reflection", ""], "as they were added, and what has no service at the end");
    assert_eq!(services[0].to_string(), TRAIT);
}

#[tokio::test]
async fn methods_registered_at_run_time_are_listed_as_functions() {
    let services = ReflectionClient::from(client(server()).await).services().await.unwrap();
    assert_eq!(
        services[2].to_string(),
        "/// Methods that were registered at run time.
async fn flip(Item) -> Result<String, Event>;
async fn ping(u64, Vec<Item>) -> u64;

struct Item {
    name: String,
}
"
    );
}

#[tokio::test]
async fn reflection_describes_itself_by_what_it_is() {
    let services = ReflectionClient::from(client(server()).await).services().await.unwrap();
    let text = services[1].to_string();
    for part in [
        "#[rpc::service(name = \"rpc.Reflection\")]\npub trait RpcReflection {\n",
        "    #[rpc(idempotent)]\n    async fn schema(&self, service: String) -> Option<Schema>;\n",
        "    async fn services(&self) -> Vec<Service>;\n",
        "\nstruct Argument {\n    name: String,\n    r#type: String,\n}\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
}

#[tokio::test]
async fn a_method_is_shown_with_the_definitions_that_it_needs() {
    let services = ReflectionClient::from(client(server()).await).services().await.unwrap();
    let method = |name: &str| services[0].methods.iter().find(|method| method.name == name).unwrap();
    assert_eq!(
        method("price").to_string(),
        "/// What it costs.\n#[rpc(idempotent, timeout = \"1500ms\")]\nasync fn price(sku: String, currency: Option<Currency>) -> Result<Money, PriceError>;\n"
    );
    let names = |name: &str| {
        let text = services[0].definitions_for(method(name));
        let lines = text.lines().filter(|line| line.starts_with("struct ") || line.starts_with("enum "));
        lines.map(|line| line.split([' ', '(', ';']).nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("price"), ["Currency", "Money", "PriceError"]);
    assert_eq!(names("buy"), ["Order", "Receipt", "Line", "Money", "Currency"]);
    assert_eq!(names("note-it"), [""; 0]);
}

#[tokio::test]
async fn other_languages_ask_by_name_and_get_json() {
    let client = client(server()).await;
    let services: Value = client.call("rpc.Reflection.services", ()).await.unwrap();
    let shop = &services[0];
    assert_eq!((&shop["name"], &shop["docs"]), (&json!("shop.v1"), &json!("Sells.\n\nAnd buys.")));
    let price = shop["methods"].as_array().unwrap().iter().find(|method| method["name"] == "price").unwrap();
    assert_eq!(
        price,
        &json!({
            "name": "price",
            "docs": "What it costs.",
            "arguments": [{ "name": "sku", "type": "String" }, { "name": "currency", "type": "Option<Currency>" }],
            "upload": null,
            "returns": "Money",
            "error": "PriceError",
            "items": null,
            "oneway": false,
            "idempotent": true,
            "detached": false,
            "timeout_ms": 1500,
            "deprecated": null,
        })
    );
    let of = |name: &str, key: &str| shop["methods"].as_array().unwrap().iter().find(|method| method["name"] == name).unwrap()[key].clone();
    assert_eq!((of("take", "deprecated"), of("give", "deprecated")), (json!("use `buy`"), json!("deprecated")));
    assert_eq!((of("events", "items"), of("events", "returns")), (json!("Event"), Value::Null));
    assert_eq!(of("import", "upload"), json!({ "name": "rows", "type": "Vec<u8>" }));
    assert_eq!((of("note-it", "oneway"), of("note-it", "returns")), (json!(true), Value::Null));
}

#[tokio::test]
async fn a_schema_is_given_for_tools_that_compare() {
    let client = client(server()).await;
    let reflection = ReflectionClient::from(client.clone());
    let schema = reflection.schema("shop.v1").await.unwrap().unwrap();
    let names: Vec<&str> = schema.methods.iter().map(|method| method.name.as_str()).collect();
    assert_eq!(names, ["buy", "events", "give", "import", "note-it", "price", "take", "watch"]);
    assert_eq!(reflection.schema("").await.unwrap().unwrap().methods.len(), 2);
    assert_eq!(reflection.schema("Warehouse").await.unwrap(), None);
    // By name it is the same.
    let by_name: rpc::schema::Schema = client.call("rpc.Reflection.schema", ("shop.v1",)).await.unwrap();
    assert_eq!(by_name, schema);
}

#[tokio::test]
async fn the_hook_is_asked_before_anything_is_said() {
    let hook = |call: &CallInfo| match call.metadata.get("token") {
        Some("secret") => Ok(()),
        _ => Err(Error::new(ErrorKind::Unauthenticated, format!("who asks for {}?", call.method))),
    };
    let client = client(server().hook(hook)).await;
    let reflection = ReflectionClient::from(client.clone());
    let error = reflection.services().await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unauthenticated, "rpc.Reflection.services: who asks for rpc.Reflection.services?"));
    let error = client.call::<Value>("rpc.Reflection.schema", ("shop.v1",)).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unauthenticated, "rpc.Reflection.schema: who asks for rpc.Reflection.schema?"));
    assert_eq!(reflection.services().metadata("token", "secret").await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_said_is_held_to_the_limits_of_any_reply() {
    let mut limits = Limits::default();
    limits.max_message = 64 << 10;
    let (listener, dialer) = memory::pair();
    // Of as many methods with long names more would be said than that.
    let many = (0..1_000).fold(server(), |server, number| server.method(format!("{number:0100}"), || async {}));
    tokio::spawn(many.listen(listener).unwrap().serve());
    let client = Client::options().limits(limits).dial(dialer).await.unwrap();
    let error = ReflectionClient::from(client).services().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}

#[tokio::test]
async fn reflection_is_a_service_that_anyone_may_implement() {
    struct Nothing;

    impl Reflection for Nothing {
        fn services(&self) -> Vec<Service> {
            Vec::new()
        }
        fn schema(&self, _: &str) -> Option<rpc::schema::Schema> {
            None
        }
    }

    let client = client(Server::new().add(ReflectionServer::new(Nothing))).await;
    assert_eq!(ReflectionClient::from(client).services().await.unwrap(), []);
    // With the server's own there would be two.
    let twice = Server::new().add(ReflectionServer::new(Nothing)).reflection(true).listen(memory::pair().0);
    assert_eq!(twice.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn what_a_server_calls_its_methods_cannot_reach_the_terminal() {
    struct Hostile;

    impl Reflection for Hostile {
        fn services(&self) -> Vec<Service> {
            let evil = "\u{1b}[2J\r\n\u{202e}x";
            let method = json!({
                "name": evil, "docs": evil, "arguments": [{ "name": evil, "type": evil }], "upload": { "name": evil, "type": evil },
                "returns": evil, "error": evil, "items": evil, "oneway": false, "idempotent": false, "detached": false,
                "timeout_ms": 7, "deprecated": evil,
            });
            let service = json!({ "name": evil, "docs": evil, "methods": [method], "definitions": format!("struct {evil};\n\n{evil}") });
            vec![serde_json::from_value(service).unwrap()]
        }
        fn schema(&self, _: &str) -> Option<rpc::schema::Schema> {
            None
        }
    }

    let services = ReflectionClient::local(Hostile).services().await.unwrap();
    let method = &services[0].methods[0];
    for text in [services[0].to_string(), method.to_string(), services[0].definitions_for(method)] {
        let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None, "{text:?}");
    }
}
