//! Bodies that are long, slow, cut off or in chunks.

use std::time::Duration;

use rpc::Limits;
use serde_json::json;
use tokio::time::Instant;

use crate::{Visitor, ask, lab, limited, post, with};

const CHUNKED: &str = "POST /Lab/upper HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test(start_paused = true)]
async fn a_body_comes_in_chunks_or_whole() {
    let (door, _lab) = lab();
    let request = [CHUNKED, &chunk("[\"in "), &chunk("chunks\"]"), "0\r\n\r\n"].concat();
    ask(&door, request).await.is_value("IN CHUNKS");
    // More than fits in a frame, both ways, as the first call of a connection and as a later one.
    let mut visitor = Visitor::over(door.knock());
    let text = "x".repeat(1 << 20);
    for _ in 0..2 {
        visitor.ask(post("/Lab/upper", &json!([text]).to_string())).await.is_value(text.to_uppercase());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_limit_is_refused_before_it_is_read() {
    let (door, _lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    let head = "POST /Lab/upper HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4194305\r\n\r\n";
    // Nothing of it is sent.
    visitor.ask(head).await.is_error(413, "too_large", "no", "Limits::max_message");
    assert!(visitor.is_closed().await);
    let longest = json!(["x".repeat((4 << 20) - 4)]).to_string();
    assert_eq!(longest.len(), 4 << 20);
    assert_eq!(ask(&door, post("/Lab/upper", &longest)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_grows_above_the_limit_is_refused_while_it_is_read() {
    let mut limits = Limits::default();
    limits.max_message = 100 << 10;
    let (door, _lab) = limited(limits);
    let (mut sending, mut sent) = (Visitor::over(door.knock()), 0);
    sending.send(CHUNKED).await;
    // Its sender does not look at the answer before all is sent, and the answer is there all the same.
    while sent < 1 << 20 {
        assert!(sending.send(chunk(&"x".repeat(16 << 10))).await);
        sent += 16 << 10;
    }
    sending.answer().await.unwrap().is_error(413, "too_large", "no", "Limits::max_message");
    assert!(sending.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_get_on_is_refused_by_the_progress_timeout() {
    let (door, _lab) = lab();
    let declared = with("/Lab/upper", "", "").replace("Content-Length: 0", "Content-Length: 100");
    for (head, drop) in [(CHUNKED.to_owned(), "1\r\n \r\n"), (declared, " ")] {
        let mut visitor = Visitor::over(door.knock());
        let began = Instant::now();
        visitor.send(head).await;
        // However it drips.
        let mut answer = None;
        for _ in 0..90 {
            visitor.send(drop).await;
            if let Ok(said) = tokio::time::timeout(Duration::from_secs(1), visitor.answer()).await {
                answer = said;
                break;
            }
        }
        answer.unwrap().is_error(408, "deadline_exceeded", "no", "Limits::progress_timeout");
        assert!((29..=31).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_body_may_take_its_time_while_it_gets_on() {
    let (door, _lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    let body = json!(["x".repeat(640 << 10)]).to_string();
    visitor.send(with("/Lab/upper", "", "").replace("Content-Length: 0", &format!("Content-Length: {}", body.len()))).await;
    let began = Instant::now();
    for part in body.as_bytes().chunks(64 << 10) {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(visitor.send(part).await);
    }
    assert_eq!(visitor.answer().await.unwrap().status, 200);
    assert!(began.elapsed() > Duration::from_secs(200));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_cut_off_calls_nothing() {
    let (door, lab) = lab();
    for head in [CHUNKED.replace("upper", "run"), with("/Lab/run", "", "").replace("Content-Length: 0", "Content-Length: 100")] {
        let mut visitor = Visitor::over(door.knock());
        visitor.send(head + "[1,").await;
        drop(visitor);
        rpc_tests::settle().await;
    }
    let mut visitor = Visitor::over(door.knock());
    let answer = visitor.ask(CHUNKED.replace("upper", "run") + "nonsense\r\n").await;
    answer.is_error(400, "malformed", "no", "chunks");
    assert!(visitor.is_closed().await);
    assert_eq!((lab.begun(), lab.runs(1)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_permission_to_send_gets_it_or_the_refusal() {
    let (door, _lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    let head = with("/Lab/add", "Expect: 100-continue\r\n", "").replace("Content-Length: 0", "Content-Length: 6");
    visitor.send(&head).await;
    visitor.more().await;
    assert!(visitor.rest.starts_with(b"HTTP/1.1 100 Continue\r\n"), "{}", String::from_utf8_lossy(&visitor.rest));
    visitor.send("[1, 2]").await;
    visitor.answer().await.unwrap().is_value(3);
    let mut visitor = Visitor::over(door.knock());
    assert_eq!(visitor.ask(head.replace("/Lab/add", "/Lab/none")).await.status, 404);
}
