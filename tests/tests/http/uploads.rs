//! Streams that go along with a request: its body in lines, the arguments first and then the items; and every way in which they end.

use std::sync::Arc;
use std::time::Duration;

use rpc::{CallInfo, Error, ErrorKind, Http, Limits};
use rpc_tests::{TestLab, rig, settle};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::{Answer, Visitor, ask, lab, limited, post, serve};

/// A request whose body is lines.
fn lines(path: &str, body: &str) -> String {
    post(path, body).replace("application/json", "application/x-ndjson")
}

/// The head of one whose body comes in chunks.
fn begins(path: &str) -> String {
    lines(path, "").replace("Content-Length: 0", "Transfer-Encoding: chunked")
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_arguments_and_items_line_by_line() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    for body in ["[]\n1\n2\n3\n", "[]\n1\n2\n3", "{}\r\n1\r\n\r\n2\r\n 3 \r\n\n\n", "\n\n[]\n1\n2\n3"] {
        for kind in ["application/x-ndjson", "application/jsonl", "Application/JSONL; charset=utf-8"] {
            visitor.ask(lines("/Flows/sum", body).replace("application/x-ndjson", kind)).await.is_value(6);
        }
    }
    for body in ["", "\n", "[]", "[]\n", "{}\n\n\n"] {
        visitor.ask(lines("/Flows/sum", body)).await.is_value(0);
    }
    visitor.ask(lines("/Flows/first", "{\"count\": 2}\n7\n8\n")).await.is_value(json!([7, 8]));
    visitor.ask(lines("/Flows/sum_after", "[\"AQID\"]\n4\n")).await.is_value(7);
    // In chunks that do not end where lines do.
    visitor.send(begins("/Flows/sum")).await;
    for part in ["[", "]", "\n", "1", "0", "\n2", "0\n", "", "3", "0"].into_iter().filter(|part| !part.is_empty()) {
        visitor.send(chunk(part)).await;
        settle().await;
    }
    visitor.ask("0\r\n\r\n").await.is_value(60);
    visitor.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
    lab.until_live(0).await;
}

#[tokio::test(start_paused = true)]
async fn many_and_long_items_pass() {
    let (door, _lab) = lab();
    let numbers: String = (0..50_000).map(|number| format!("{number}\n")).collect();
    let sum: u64 = (0..50_000).sum();
    let mut visitor = Visitor::over(door.knock());
    visitor.ask(lines("/Flows/sum", &format!("[]\n{numbers}"))).await.is_value(sum);
    let blobs: Vec<Value> = [200_000, 0, 100_000].iter().enumerate().map(|(seed, size)| json!(rpc_tests::lab::pattern(seed as u64, *size))).collect();
    let text: String = blobs.iter().map(|blob| format!("{blob}\n")).collect();
    visitor.ask(lines("/Flows/lengths", &format!("[]\n{text}"))).await.is_value(json!([200_000, 0, 100_000]));
}

#[tokio::test(start_paused = true)]
async fn streams_go_both_ways_at_once() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    let answer = visitor.ask(lines("/Flows/doubles", "[]\n1\n2\n")).await;
    assert_eq!((answer.status, answer.header("content-type"), answer.text.as_str()), (200, Some("application/x-ndjson"), "2\n4\n"));
    // Each is answered before the next one is sent.
    visitor.send(begins("/Flows/doubles")).await;
    visitor.send(chunk("[]\n")).await;
    assert_eq!(visitor.head().await.unwrap().status, 200);
    for number in 1..5_u64 {
        visitor.send(chunk(&format!("{number}\n"))).await;
        assert_eq!(visitor.chunk().await.unwrap().unwrap(), format!("{}\n", 2 * number));
    }
    visitor.send("0\r\n\r\n").await;
    assert_eq!(visitor.chunk().await.unwrap(), None);
    visitor.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
    lab.until_live(0).await;
}

/// What nobody takes stays where it is: windows, a frame or two, and the sockets.
#[tokio::test(start_paused = true)]
async fn a_body_is_read_as_fast_as_its_items_are_taken() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    visitor.send(begins("/Flows/hold")).await;
    visitor.send(chunk("[5]\n")).await;
    lab.until_live(1).await;
    let item = chunk(&format!("{}\n", json!(vec![7; 500])));
    let mut sent = 0;
    while timeout(Duration::from_secs(60), visitor.io.write_all(item.as_bytes())).await.is_ok() {
        sent += 1;
        assert!(sent < 2000, "nothing holds it up");
    }
    assert!((32 << 10..512 << 10).contains(&(sent * item.len())), "{sent}");
    assert_eq!(lab.live(), 1, "who is held up is not late");
    // Others go on.
    ask(&door, post("/Lab/add", "[1, 2]")).await.is_value(3);
    lab.open(5);
    // The rest of the item that was cut off, of which some may have been written.
    drop(visitor);
    lab.until_live(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_all_of_a_long_upload() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    let item = format!("{}\n", json!(vec![7; 500]));
    let body = format!("[5]\n{}", item.repeat(1000));
    let sending = async {
        assert!(visitor.send(lines("/Flows/hold", &body)).await);
        visitor.answer().await.unwrap()
    };
    let opening = async {
        lab.until_live(1).await;
        tokio::time::sleep(Duration::from_secs(300)).await;
        lab.open(5);
    };
    let (answer, ()) = tokio::join!(sending, opening);
    answer.is_value(1000);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_cut_off_is_no_end() {
    let (door, lab) = lab();
    for (head, rest) in
        [(begins("/Flows/witness"), chunk("[]\n1\n2\n")), (lines("/Flows/witness", "").replace("Length: 0", "Length: 100"), "[]\n1\n2\n".to_owned())]
    {
        let mut visitor = Visitor::over(door.knock());
        visitor.send(head).await;
        visitor.send(rest).await;
        lab.until_live(1).await;
        settle().await;
        visitor.leaves(&lab).await;
    }
    lab.until_notes(2).await;
    assert_eq!(lab.notes(), ["2 items, then Cancelled"; 2]);
    // And chunks that are none.
    let mut visitor = Visitor::over(door.knock());
    visitor.send(begins("/Flows/sum")).await;
    visitor.send(chunk("[]\n1\n")).await;
    lab.until_live(1).await;
    visitor.ask("nonsense\r\n").await.is_error(400, "malformed", "maybe", "Flows.sum: the body was cut off");
    assert!(visitor.is_closed().await);
    lab.until_live(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_cancels_both_ways() {
    let (door, lab) = lab();
    for _ in 0..20 {
        let mut visitor = Visitor::over(door.knock());
        visitor.send(begins("/Flows/echo")).await;
        visitor.send(chunk("[]\n\"AQID\"\n")).await;
        assert_eq!(visitor.head().await.unwrap().status, 200);
        assert_eq!(visitor.chunk().await.unwrap().unwrap(), "\"AQID\"\n");
        assert_eq!(lab.live(), 1);
        visitor.leaves(&lab).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_come_before_the_items_have() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    visitor.send(begins("/Flows/first")).await;
    visitor.ask(chunk("[1]\n7\n")).await.is_value(json!([7]));
    assert!(visitor.is_closed().await, "the rest of the body would stand before the next request");
    // Its sender does not look at the answer before all is sent, and the answer is there all the same.
    let mut visitor = Visitor::over(door.knock());
    visitor.send(begins("/Flows/refuse_items")).await;
    visitor.send(chunk("[6]\n7\n")).await;
    lab.until_live(1).await;
    lab.open(6);
    for _ in 0..100 {
        assert!(visitor.send(chunk(&format!("{}\n", "8".repeat(10 << 10)))).await);
    }
    visitor.answer().await.unwrap().is_value(6);
    assert!(visitor.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn every_upload_that_fails_has_its_status() {
    let mut limits = Limits::default();
    limits.max_message = 64 << 10;
    let (door, lab) = limited(limits);
    let long = format!("\"{}\"", "x".repeat(70 << 10));
    ask(&door, lines("/Flows/sum", &long)).await.is_error(413, "too_large", "no", "Limits::max_message");
    ask(&door, lines("/Flows/sum", &format!("[]\n1\n{long}\n"))).await.is_error(
        413,
        "too_large",
        "maybe",
        "Flows.sum: a line of the body has more than",
    );
    ask(&door, lines("/Flows/sum", "[1]\n")).await.is_error(400, "malformed", "no", "Flows.sum: malformed arguments");
    ask(&door, lines("/Flows/sum", "not json\n1\n")).await.is_error(400, "malformed", "no", "Flows.sum");
    // The items are the method's: it sees which one is wrong.
    let answer = ask(&door, lines("/Flows/sum", "[]\n1\n\"x\"\n")).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.text.contains("malformed item"), "{answer:?}");
    let answer = ask(&door, lines("/Flows/sum", "[]\n1 2\n")).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    ask(&door, with_timeout("/Flows/hold", "20ms", "[9]\n")).await.is_error(504, "deadline_exceeded", "maybe", "Flows.hold");
    lab.until_live(0).await;
    // Without streams, and with them, each body is the other's.
    ask(&door, lines("/Lab/add", "[1, 2]")).await.is_error(415, "malformed", "no", "Lab.add: the method takes no stream");
    ask(&door, lines("/Flows/count", "[1, 2]")).await.is_error(415, "malformed", "no", "Flows.count: the method takes no stream");
    for path in ["/Flows/sum", "/Flows/echo"] {
        ask(&door, post(path, "[]")).await.is_error(415, "malformed", "no", "the method takes a stream: the body is lines of JSON");
    }
}

fn with_timeout(path: &str, timeout: &str, body: &str) -> String {
    lines(path, body).replace("Host:", &format!("Rpc-Timeout: {timeout}\r\nHost:"))
}

#[tokio::test(start_paused = true)]
async fn a_line_gets_on_or_is_late() {
    let (door, lab) = lab();
    // Before the arguments are there, and before an item is, however it drips.
    for (first, status, executed) in [("[", 408, "no"), ("[]\n1\n2", 504, "maybe")] {
        let mut visitor = Visitor::over(door.knock());
        visitor.send(begins("/Flows/sum")).await;
        visitor.send(chunk(first)).await;
        let (began, mut answer) = (Instant::now(), None);
        for _ in 0..90 {
            visitor.send(chunk(" ")).await;
            if let Ok(said) = timeout(Duration::from_secs(1), visitor.answer()).await {
                answer = said;
                break;
            }
        }
        answer.unwrap().is_error(status, "deadline_exceeded", executed, "Limits::progress_timeout");
        assert!((29..=31).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }
    // An empty line is enough to stay.
    let mut visitor = Visitor::over(door.knock());
    visitor.send(begins("/Flows/sum")).await;
    visitor.send(chunk("[]\n1\n")).await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(visitor.send(chunk("\n")).await);
    }
    visitor.send(chunk("2\n")).await;
    visitor.ask("0\r\n\r\n").await.is_value(3);
    lab.until_live(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_lets_an_upload_end_and_takes_no_other() {
    let lab = TestLab::new();
    let (door, doorman) = rpc_tests::door::Door::new();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = rig::server(&lab).http(Http::new()).listen(doorman).unwrap();
    let serving = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
    let (mut begun, mut asking) = (Visitor::over(door.knock()), Visitor::over(door.knock()));
    begun.send(begins("/Flows/sum")).await;
    begun.send(chunk("[]\n1\n")).await;
    asking.send(begins("/Flows/sum")).await;
    asking.send(chunk("[")).await;
    lab.until_live(1).await;
    settle().await;
    stop.send(()).unwrap();
    asking.answer().await.unwrap().is_error(503, "draining", "no", "shutting down");
    begun.send(chunk("2\n")).await;
    begun.ask("0\r\n\r\n").await.is_value(3);
    serving.await.unwrap().unwrap();
}

/// Who may not call is not told which methods there are, nor how they are called.
#[tokio::test(start_paused = true)]
async fn a_stranger_is_told_the_same_of_every_method() {
    let lab = TestLab::new();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let names = asked.clone();
    let hook = move |call: &CallInfo| {
        names.lock().unwrap().push(call.method.clone());
        match call.metadata.get("authorization") {
            Some("Bearer good") => Ok(()),
            _ => Err(Error::new(ErrorKind::Unauthenticated, "who is it?")),
        }
    };
    let door = serve(rig::server(&lab).hook(hook).http(Http::new()));
    let without_name = |answer: Answer| {
        let (status, kind, executed, message) = answer.error();
        let headers: Vec<_> = answer.headers.into_iter().filter(|(name, _)| name != "date" && name != "content-length").collect();
        (status, kind, executed, message.split_once(": ").map(|(_, text)| text.to_owned()), headers)
    };
    let paths = ["/Lab/add", "/Flows/sum", "/Lab/none", "/None/add", "/none"];
    let expect = |request: String| request.replace("Host:", "Expect: 100-continue\r\nHost:");
    let large = format!("Rpc-Metadata-Key: {}\r\nHost:", "x".repeat(9 << 10));
    let requests: [&dyn Fn(&str) -> String; 6] = [
        &|path| post(path, "[1, 2]"),
        &|path| post(path, "not json"),
        &|path| lines(path, "[1, 2]\n1\n"),
        &|path| post(path, "[1, 2]").replace("Host:", &large),
        &|path| post(path, &"x".repeat((4 << 20) + 1)),
        &|path| lines(path, &"x".repeat((4 << 20) + 1)),
    ];
    for (at, request) in requests.iter().enumerate() {
        let mut told = Vec::new();
        for path in paths {
            told.push(without_name(ask(&door, request(path)).await));
        }
        assert!(told.iter().all(|answer| *answer == told[0]), "{at}: {told:?}");
        assert_eq!(told[0].0, [401, 401, 401, 413, 413, 413][at]);
    }
    // Nor by whether it would read the body.
    for path in paths {
        let mut visitor = Visitor::over(door.knock());
        visitor.send(expect(post(path, "[1, 2]")).replace("[1, 2]", "")).await;
        visitor.more().await;
        assert!(visitor.rest.starts_with(b"HTTP/1.1 100 Continue\r\n"), "{path}: {}", String::from_utf8_lossy(&visitor.rest));
    }
    for path in ["Lab.add", "Flows.sum", "Lab.none", "None.add", "none"] {
        assert!(asked.lock().unwrap().iter().any(|name| name == path), "{path}");
    }
    // Who may call is told what is wrong.
    let good = |request: String| request.replace("Host:", "Authorization: Bearer good\r\nHost:");
    ask(&door, good(post("/Lab/none", "[]"))).await.is_error(404, "unimplemented", "no", "Lab.none");
    ask(&door, good(post("/Flows/sum", "[]"))).await.is_error(415, "malformed", "no", "Flows.sum");
    ask(&door, good(lines("/Flows/sum", "[]\n1\n"))).await.is_value(1);
    assert_eq!(lab.begun(), 1);
}
