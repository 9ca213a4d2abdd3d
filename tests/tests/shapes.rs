//! Every shape of a method, called through a connection in memory: what goes in comes out.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rpc::{CallError, Context, service};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    name: String,
    count: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct View<'a> {
    text: &'a str,
}

mod mine {
    pub(crate) type Result<T> = std::result::Result<T, super::Row>;
}

#[service]
trait Shapes {
    async fn texts(&self, text: &str, cow: Cow<'_, str>, perhaps: Option<&str>, view: View<'_>) -> String;
    async fn bytes(&self, bytes: &[u8], cow: Cow<'_, [u8]>) -> Vec<u8>;
    async fn values(&self, row: Row, one: &Row, many: &[Row]) -> Vec<Row>;
    async fn alias(&self, fail: bool) -> mine::Result<u32>;
    async fn nested(&self, row: Row) -> Result<Result<u32, String>, Row>;
    async fn unit(&self);
    async fn context(&self, cx: &Context, key: &str) -> Option<String>;
    async fn lower(&self, n: u32) -> Result<u32, String> {
        let n = n.checked_sub(1).ok_or("zero")?;
        Ok(n)
    }
    #[rpc(oneway)]
    async fn note(&self, n: usize);
    #[rpc(spawn, detached, idempotent)]
    async fn spawned(&self, text: &str) -> usize;
    #[rpc(blocking)]
    fn blocking(&self, cx: &Context, text: &str) -> Result<String, Row>;
}

#[derive(Default)]
struct Mine {
    noted: AtomicUsize,
}

fn row(name: &str, count: u32) -> Row {
    Row { name: name.to_owned(), count }
}

impl Shapes for Mine {
    async fn texts(&self, text: &str, cow: Cow<'_, str>, perhaps: Option<&str>, view: View<'_>) -> String {
        tokio::task::yield_now().await;
        [text, &cow, perhaps.unwrap_or("none"), view.text].join(" ")
    }
    async fn bytes(&self, bytes: &[u8], cow: Cow<'_, [u8]>) -> Vec<u8> {
        [bytes, &cow].concat()
    }
    async fn values(&self, row: Row, one: &Row, many: &[Row]) -> Vec<Row> {
        let mut rows = vec![row, one.clone()];
        rows.extend_from_slice(many);
        rows
    }
    async fn alias(&self, fail: bool) -> mine::Result<u32> {
        if fail { Err(row("failed", 1)) } else { Ok(7) }
    }
    async fn nested(&self, row: Row) -> Result<Result<u32, String>, Row> {
        match row.count {
            0 => Err(row),
            1 => Ok(Err(row.name)),
            count => Ok(Ok(count)),
        }
    }
    async fn unit(&self) {}
    async fn context(&self, cx: &Context, key: &str) -> Option<String> {
        cx.metadata(key).map(str::to_owned)
    }
    async fn note(&self, n: usize) {
        self.noted.fetch_add(n, Ordering::SeqCst);
    }
    async fn spawned(&self, text: &str) -> usize {
        tokio::task::yield_now().await;
        text.len()
    }
    fn blocking(&self, cx: &Context, text: &str) -> Result<String, Row> {
        if text.is_empty() { Err(row("empty", 0)) } else { Ok(format!("{text} {}", cx.remaining().is_some())) }
    }
}

#[tokio::test]
async fn borrowed_arguments_arrive() -> Result<(), rpc::Error> {
    let client = ShapesClient::local(Mine::default());
    // The arguments are encoded when the method is called: they need not live until it is awaited.
    let call = {
        let text = String::from("a");
        client.texts(&text, Cow::Borrowed(&text), Some("b"), View { text: "c" })
    };
    assert_eq!(call.await?, "a a b c");
    assert_eq!(client.bytes(&[1, 2], Cow::Owned(vec![3])).await?, [1, 2, 3]);
    assert_eq!(client.spawned("four").await?, 4);
    Ok(())
}

#[tokio::test]
async fn owned_and_lent_values_arrive() -> Result<(), rpc::Error> {
    let client = ShapesClient::local(Mine::default());
    let rows = client.values(row("a", 1), &row("b", 2), &[row("c", 3)]).await?;
    assert_eq!(rows, [row("a", 1), row("b", 2), row("c", 3)]);
    client.unit().await
}

#[tokio::test]
async fn only_the_outer_result_is_the_calls() -> Result<(), rpc::Error> {
    let client = ShapesClient::local(Mine::default());
    assert!(matches!(client.alias(false).await, Ok(7)));
    assert!(matches!(client.alias(true).await, Err(CallError::Service(error)) if error == row("failed", 1)));
    assert!(matches!(client.nested(row("a", 0)).await, Err(CallError::Service(error)) if error == row("a", 0)));
    assert!(matches!(client.nested(row("a", 1)).await, Ok(Err(text)) if text == "a"));
    assert!(matches!(client.nested(row("a", 2)).await, Ok(Ok(2))));
    Ok(())
}

#[tokio::test]
async fn a_default_body_serves() {
    let client = ShapesClient::local(Mine::default());
    assert!(matches!(client.lower(3).await, Ok(2)));
    assert!(matches!(client.lower(0).await, Err(CallError::Service(text)) if text == "zero"));
}

#[tokio::test]
async fn the_context_is_the_servers() -> Result<(), rpc::Error> {
    let client = ShapesClient::local(Mine::default());
    assert_eq!(client.context("tenant").metadata("tenant", "a").await?.as_deref(), Some("a"));
    assert_eq!(client.context("tenant").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_blocking_method_borrows_and_fails_like_any_other() {
    let client = ShapesClient::local(Mine::default());
    assert!(matches!(client.blocking("text").await, Ok(text) if text == "text true"));
    assert!(matches!(client.blocking("").await, Err(CallError::Service(error)) if error == row("empty", 0)));
}

#[tokio::test]
async fn a_one_way_call_runs() -> Result<(), rpc::Error> {
    let mine = Arc::new(Mine::default());
    let client = ShapesClient::from(rpc::Client::local(ShapesServer::shared(Arc::clone(&mine))));
    client.note(3).await?;
    // Calls that are ready at once are served in order: the answer to this one tells that the first has run.
    client.unit().await?;
    assert_eq!(mine.noted.load(Ordering::SeqCst), 3);
    Ok(())
}
