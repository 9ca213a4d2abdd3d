//! HTTP/1 on the port of everything else, spoken by hand: what is answered to whom, and what becomes of a connection.
#![allow(clippy::unwrap_used)]

mod admission;
mod bodies;
mod calls;
mod curl;
mod hooks;
mod life;
mod mutations;
mod streams;
mod tls;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use rpc::{Http, Limits, Server};
use rpc_tests::door::Door;
use rpc_tests::{TestLab, rig};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

/// A lab with its door open, in memory.
fn lab() -> (Door, Arc<TestLab>) {
    limited(Limits::default())
}

fn limited(limits: Limits) -> (Door, Arc<TestLab>) {
    let lab = TestLab::new();
    (serve(rig::server(&lab).limits(limits).http(Http::new())), lab)
}

fn serve(server: Server) -> Door {
    let (door, doorman) = Door::new();
    tokio::spawn(server.listen(doorman).unwrap().serve());
    door
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status, kind, executed and message of an error.
    fn error(&self) -> (u16, String, String, String) {
        let json = self.json();
        let text = |name: &str| json["error"][name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned();
        (self.status, text("kind"), text("executed"), text("message"))
    }

    #[track_caller]
    fn is_error(&self, status: u16, kind: &str, executed: &str, message: &str) {
        let (got, got_kind, got_executed, text) = self.error();
        assert_eq!((got, got_kind.as_str(), got_executed.as_str()), (status, kind, executed), "{text}");
        assert!(text.contains(message), "`{text}` does not say `{message}`");
    }

    #[track_caller]
    fn is_value(&self, value: impl Into<Value>) {
        assert_eq!((self.status, self.json()), (200, value.into()), "{self:?}");
    }
}

/// A client of HTTP/1, by hand.
struct Visitor<T = DuplexStream> {
    io: T,
    rest: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Visitor<T> {
    fn over(io: T) -> Self {
        Self { io, rest: Vec::new() }
    }

    /// False when the server has closed.
    async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.io.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next answer; none when the server has closed without one.
    async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await.expect("half an answer") {
                answer.text.push_str(&chunk);
            }
            return Some(answer);
        }
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.rest.len() < length {
            assert!(self.more().await, "half an answer: {answer:?}");
        }
        answer.text = String::from_utf8(self.rest.drain(..length).collect()).unwrap();
        Some(answer)
    }

    /// The next chunk of a body; inside none after the last one, outside none when the server has closed before that.
    async fn chunk(&mut self) -> Option<Option<String>> {
        let line = loop {
            match self.rest.windows(2).position(|window| window == b"\r\n") {
                Some(at) => break at,
                None if !self.more().await => return None,
                None => {}
            }
        };
        let length = usize::from_str_radix(std::str::from_utf8(&self.rest[..line]).unwrap(), 16).unwrap();
        let (begin, end) = (line + 2, line + 2 + length);
        while self.rest.len() < end + 2 {
            if !self.more().await {
                return None;
            }
        }
        let chunk: Vec<u8> = self.rest.drain(..end + 2).collect();
        assert_eq!(&chunk[end..], b"\r\n");
        Some((length > 0).then(|| String::from_utf8(chunk[begin..end].to_vec()).unwrap()))
    }

    /// Status and headers.
    async fn head(&mut self) -> Option<Answer> {
        loop {
            let end = loop {
                if let Some(at) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at + 4;
                }
                if !self.more().await {
                    assert!(self.rest.is_empty(), "half an answer: {}", String::from_utf8_lossy(&self.rest));
                    return None;
                }
            };
            let head = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
            let mut lines = head.trim_end().split("\r\n");
            let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
            if status == 100 {
                continue;
            }
            let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).unwrap();
            return Some(Answer { status, headers: lines.map(pair).collect(), text: String::new() });
        }
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        let count = self.io.read(&mut bytes).await.unwrap_or(0);
        self.rest.extend_from_slice(&bytes[..count]);
        count > 0
    }

    async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        assert!(self.send(request).await);
        self.answer().await.expect("an answer")
    }

    /// It hangs up: whatever runs for it is dropped within 100 ms.
    async fn leaves(self, lab: &TestLab) {
        let began = Instant::now();
        drop(self);
        lab.until_live(0).await;
        assert!(began.elapsed() <= Duration::from_millis(100), "{:?}", began.elapsed());
    }

    /// True when the server has closed, with nothing more to say.
    async fn is_closed(&mut self) -> bool {
        self.answer().await.is_none()
    }
}

/// A request as it should be.
fn post(path: &str, body: &str) -> String {
    with(path, "", body)
}

/// The same with more headers, each with its line's end.
fn with(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

/// One request on a connection of its own.
async fn ask(door: &Door, request: impl AsRef<[u8]>) -> Answer {
    Visitor::over(door.knock()).ask(request).await
}
