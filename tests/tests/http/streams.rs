//! Streams over HTTP: one line of JSON an item, and every way in which they end.

use std::time::Duration;

use rpc_tests::settle;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Visitor, ask, lab, post, with};

/// The next chunk of a stream that goes on.
async fn line<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(visitor: &mut Visitor<T>) -> String {
    visitor.chunk().await.expect("the server has closed").expect("the stream has ended")
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_one_item_a_line() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    for _ in 0..3 {
        let answer = visitor.ask(post("/Flows/count", "[5, 8]")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")), "{answer:?}");
        assert_eq!(answer.text, "5\n6\n7\n");
        let answer = visitor.ask(post("/Flows/count", r#"{"to": 5, "from": 5}"#)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
        visitor.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
    }
    let answer = visitor.ask(post("/Flows/refusable", r#"["a\n\"b"]"#)).await;
    assert_eq!(answer.text, "\"a\"\n\"\\n\"\n\"\\\"\"\n\"b\"\n", "a line has no line in it");
    let answer = visitor.ask(post("/Flows/fallible", "")).await;
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [json!({"Ok": 1}), json!({"Err": "Plain"}), json!({"Ok": 3})], "an item that is an error is an item");
    lab.until_live(0).await;
}

#[tokio::test(start_paused = true)]
async fn long_and_many_items_pass() {
    let (door, _lab) = lab();
    let answer = ask(&door, post("/Flows/sizes", "[1, [200000, 0, 100000]]")).await;
    let lengths: Vec<usize> = answer.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().as_str().unwrap().len()).collect();
    assert_eq!(lengths, [200_000_usize, 0, 100_000].map(|bytes| bytes.div_ceil(3) * 4), "as base64");
    let answer = ask(&door, post("/Flows/count", "[0, 50000]")).await;
    assert!(answer.text.lines().enumerate().all(|(number, line)| line == number.to_string()));
    assert_eq!(answer.text.lines().count(), 50_000);
}

#[tokio::test(start_paused = true)]
async fn what_fails_before_the_stream_has_its_status() {
    let (door, _lab) = lab();
    let answer = ask(&door, post("/Flows/refusable", r#"[""]"#)).await;
    let value = json!({"Text": "nothing to say"});
    assert_eq!((answer.status, answer.json()), (422, json!({"error": {"kind": "service", "executed": "yes", "value": value}})));
    ask(&door, post("/Flows/count", "[1]")).await.is_error(400, "malformed", "no", "Flows.count: malformed arguments");
    ask(&door, post("/Flows/panics_at", "[0]")).await.is_error(500, "internal", "yes", "Flows.panics_at: the handler panicked");
    ask(&door, with("/Flows/later", "Rpc-Timeout: 20ms\r\n", "[1]")).await.is_error(504, "deadline_exceeded", "maybe", "Flows.later");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_is_cut_by_a_line_that_says_so() {
    let (door, _lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    let lines = async |visitor: &mut Visitor, request: String| {
        let answer = visitor.ask(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    // One item has left before the other fails.
    let got = lines(&mut visitor, with("/Flows/one_and_wait", "Rpc-Timeout: 2s\r\n", "")).await;
    assert_eq!(
        (&got[0], &got[1]["error"]["kind"], &got[1]["error"]["executed"], got.len()),
        (&json!(1), &json!("deadline_exceeded"), &json!("maybe"), 2)
    );
    let got = lines(&mut visitor, post("/Flows/not_seven", "[6]")).await;
    assert_eq!((&got[0], &got[1]["error"]["kind"], &got[1]["error"]["executed"], got.len()), (&json!(6), &json!("internal"), &json!("yes"), 2));
    assert!(got[1]["error"]["message"].as_str().unwrap().contains("the item cannot be encoded"), "{got:?}");
    visitor.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
}

#[tokio::test(start_paused = true)]
async fn items_come_as_they_are_made_and_without_a_deadline() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    visitor.send(post("/Flows/one_and_wait", "")).await;
    assert_eq!(visitor.head().await.unwrap().status, 200);
    assert_eq!(line(&mut visitor).await, "1\n");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(lab.live(), 1);
    assert_eq!(ask(&door, post("/Flows/remaining", "")).await.text, "null\n");
    let text = ask(&door, with("/Flows/remaining", "Rpc-Timeout: 2s\r\n", "")).await.text;
    assert_eq!(text, "2000000\n");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_cancels_its_stream() {
    let (door, lab) = lab();
    for _ in 0..20 {
        let mut visitor = Visitor::over(door.knock());
        visitor.send(post("/Flows/one_and_wait", "")).await;
        assert_eq!(visitor.head().await.unwrap().status, 200);
        assert_eq!(line(&mut visitor).await, "1\n");
        assert_eq!(lab.live(), 1);
        visitor.leaves(&lab).await;
    }
}

/// Who does not read holds nothing but a window, and the connection no longer than any other.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stops_its_stream() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    visitor.send(post("/Flows/endless", "[1000]")).await;
    lab.until_live(1).await;
    settle().await;
    let made = lab.produced();
    assert!((1..2_000).contains(&made), "{made}");
    settle().await;
    assert_eq!(lab.produced(), made, "it waits");
    let began = Instant::now();
    lab.until_live(0).await;
    assert!((29..=31).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// Its last chunk never comes: a stream that was cut off does not look whole.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_gone_does_not_end_the_stream() {
    let (door, doorman) = rpc_tests::door::Door::new();
    let lab = rpc_tests::TestLab::new();
    let task = tokio::spawn(rpc_tests::rig::server(&lab).http(rpc::Http::new()).listen(doorman).unwrap().serve());
    let mut visitor = Visitor::over(door.knock());
    visitor.send(post("/Flows/one_and_wait", "")).await;
    assert_eq!(visitor.head().await.unwrap().status, 200);
    assert_eq!(line(&mut visitor).await, "1\n");
    task.abort();
    assert!(visitor.chunk().await.is_none());
    lab.until_live(0).await;
}
