//! Every shape that a stream may have.
#![deny(missing_docs, warnings)]

use futures_util::stream;
use rpc::{Context, Stream, Streaming};

/// A feed.
#[rpc::service]
pub trait Feed {
    /// From the server.
    fn events(&self, after: u64) -> impl Stream<Item = u64>;
    /// It may borrow itself and its arguments, and say `Send` itself.
    fn letters(&self, cx: &Context, text: &str) -> impl Stream<Item = char> + Send;
    /// Later.
    async fn later(&self) -> impl Stream<Item = u64>;
    /// Or not at all.
    async fn watch(&self, name: &str) -> Result<impl Stream<Item = String>, String>;
    /// Each item may fail.
    fn fallible(&self) -> impl Stream<Item = Result<u64, String>>;
    /// From the client.
    async fn import(&self, rows: Streaming<(u32, String)>) -> Result<u32, String>;
    /// Among other arguments.
    async fn mixed(&self, name: &str, rows: Streaming<u32>, more: Vec<u8>) -> u32;
    /// Both ways.
    fn chat(&self, lines: Streaming<String>) -> impl Stream<Item = String>;
    /// Both ways, or not at all.
    #[rpc(timeout = "1m", name = "talk", detached)]
    async fn refusable_chat(&self, rpc_lines: Streaming<String>) -> Result<impl Stream<Item = String>, String>;
    /// With a body of its own.
    fn nothing(&self) -> impl Stream<Item = u64> {
        stream::empty()
    }
    /// With a body that waits.
    async fn nothing_later(&self) -> impl Stream<Item = u64> {
        std::future::ready(()).await;
        stream::empty()
    }
}

struct Fed(String);

impl Feed for Fed {
    fn events(&self, after: u64) -> impl Stream<Item = u64> {
        stream::iter(after..after + 3)
    }
    fn letters(&self, _: &Context, text: &str) -> impl Stream<Item = char> + Send {
        stream::iter(self.0.chars().chain(text.chars()))
    }
    async fn later(&self) -> impl Stream<Item = u64> {
        stream::empty()
    }
    async fn watch(&self, name: &str) -> Result<impl Stream<Item = String>, String> {
        if name.is_empty() { Err(self.0.clone()) } else { Ok(stream::iter([name.to_owned()])) }
    }
    fn fallible(&self) -> impl Stream<Item = Result<u64, String>> {
        stream::iter([Err(self.0.clone())])
    }
    async fn import(&self, mut rows: Streaming<(u32, String)>) -> Result<u32, String> {
        let mut sum = 0;
        while let Some(row) = rows.next().await {
            sum += row.map_err(|error| error.to_string())?.0;
        }
        Ok(sum)
    }
    async fn mixed(&self, name: &str, rows: Streaming<u32>, more: Vec<u8>) -> u32 {
        drop(rows);
        (name.len() + more.len()) as u32
    }
    fn chat(&self, lines: Streaming<String>) -> impl Stream<Item = String> {
        stream::unfold(lines, |mut lines| async move { Some((lines.next().await?.ok()?, lines)) })
    }
    async fn refusable_chat(&self, rpc_lines: Streaming<String>) -> Result<impl Stream<Item = String>, String> {
        Ok(self.chat(rpc_lines))
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let feed = FeedClient::local(Fed("grüße".to_owned()));
        let mut events = feed.events(7).await.unwrap();
        assert_eq!(events.next().await.unwrap().unwrap(), 7);
        let mut letters = feed.letters("!").await.unwrap();
        let mut text = String::new();
        while let Some(letter) = letters.next().await {
            text.push(letter.unwrap());
        }
        assert_eq!(text, "grüße!");
        assert!(matches!(feed.watch("").await, Err(rpc::CallError::Service(text)) if text == "grüße"));
        assert_eq!(feed.import(stream::iter([(1, String::new()), (2, String::new())])).await.unwrap(), 3);
        assert_eq!(feed.mixed("ab", stream::pending(), vec![1]).await.unwrap(), 3);
        assert!(feed.nothing_later().await.unwrap().next().await.is_none());
        let (say, lines) = Streaming::channel();
        let mut answers = feed.refusable_chat(lines).await.unwrap();
        say.send("hello".to_owned()).await.unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap(), "hello");
    });
}
