//! Requests that become calls, and every status that a call can end with.

use std::time::Duration;

use rpc::{CallInfo, Error, ErrorKind, Http, Limits, Server};
use rpc_tests::{LabServer, TestLab, rig};
use serde_json::json;

use crate::{Visitor, ask, lab, limited, post, serve, with};

#[tokio::test(start_paused = true)]
async fn a_method_is_called_by_its_path_with_arguments_by_position_or_by_name() {
    let (door, _lab) = lab();
    ask(&door, post("/Lab/add", "[1, 2]")).await.is_value(3);
    ask(&door, post("/Lab/add", r#"{"b": 40, "a": 2}"#)).await.is_value(42);
    ask(&door, post("/Lab.add", "[1, 2]")).await.is_value(3);
    ask(&door, post("/L%61b/ad%64", "[1, 2]")).await.is_value(3);
    ask(&door, post("/double", "[21]")).await.is_value(42);
    ask(&door, post("/Lab/upper", r#"["grün"]"#)).await.is_value("GRÜN");
}

#[tokio::test(start_paused = true)]
async fn no_body_is_no_arguments() {
    let (door, lab) = lab();
    ask(&door, post("/Lab/nothing", "")).await.is_value(json!(null));
    ask(&door, post("/Lab/nothing", "[]")).await.is_value(json!(null));
    ask(&door, post("/Lab/nothing", "{}")).await.is_value(json!(null));
    ask(&door, post("/Lab/note", r#"["over HTTP"]"#)).await.is_value(json!(null));
    lab.until_noted("over HTTP").await;
}

#[tokio::test(start_paused = true)]
async fn the_methods_own_error_is_422_with_its_value() {
    let (door, _lab) = lab();
    let answer = ask(&door, post("/Lab/fail", r#"[{"Fields": {"code": 7, "causes": ["a\nb"]}}]"#)).await;
    let value = json!({ "Fields": { "code": 7, "causes": ["a\nb"] } });
    assert_eq!((answer.status, answer.json()), (422, json!({ "error": { "kind": "service", "executed": "yes", "value": value } })));
}

#[tokio::test(start_paused = true)]
async fn every_error_has_its_status() {
    let mut limits = Limits::default();
    limits.max_message = 64 << 10;
    let (door, _lab) = limited(limits);
    ask(&door, post("/Lab/add", "[1, -2]")).await.is_error(400, "malformed", "no", "Lab.add: malformed arguments: $.b");
    ask(&door, post("/Lab/add", "[1]")).await.is_error(400, "malformed", "no", "expected 2 arguments (a, b), got 1");
    ask(&door, post("/Lab/add", "[1, 2")).await.is_error(400, "malformed", "no", "Lab.add");
    ask(&door, post("/Lab/add", "not json")).await.is_error(400, "malformed", "no", "Lab.add");
    ask(&door, post("/Lab/subtract", "[1, 2]")).await.is_error(404, "unimplemented", "no", "Lab.subtract: the peer serves no such method");
    ask(&door, post("/Shop/add", "[1, 2]")).await.is_error(404, "unimplemented", "no", "Shop.add");
    ask(&door, post("/Lab/panics", r#"["x"]"#)).await.is_error(500, "internal", "yes", "Lab.panics: the handler panicked");
    ask(&door, post("/Lab/panics_later", "")).await.is_error(500, "internal", "yes", "panicked");
    ask(&door, post("/Lab/unwritable", "")).await.is_error(500, "internal", "yes", "cannot be encoded");
    let large = post("/Lab/run", r#"[1, {"Reply": 100000}, []]"#);
    ask(&door, large).await.is_error(500, "too_large", "yes", "Limits::max_message");
    ask(&door, post("/Lab/hurried", "")).await.is_error(504, "deadline_exceeded", "maybe", "Lab.hurried");
    ask(&door, with("/Lab/sleep", "Rpc-Timeout: 20ms\r\n", "[1000]")).await.is_error(504, "deadline_exceeded", "maybe", "Lab.sleep");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_the_requests_or_the_methods_or_thirty_seconds() {
    let (door, _lab) = lab();
    let remaining = async |headers: &str| ask(&door, with("/Lab/remaining", headers, "")).await.json().as_u64().unwrap();
    assert_eq!(remaining("").await, 30_000_000);
    assert_eq!(remaining("Rpc-Timeout: 250ms\r\n").await, 250_000);
    assert_eq!(remaining("rpc-timeout: 2s\r\n").await, 2_000_000);
    assert_eq!(remaining("Rpc-Timeout: 2m\r\n").await, 120_000_000);
    assert_eq!(remaining("Rpc-Timeout: 1h\r\n").await, 3_600_000_000);
    let began = tokio::time::Instant::now();
    assert_eq!(ask(&door, post("/Lab/hurried", "")).await.status, 504);
    assert_eq!(began.elapsed().as_millis() / 10, 25, "its own is 250 ms");
    let began = tokio::time::Instant::now();
    assert_eq!(ask(&door, with("/Lab/hurried", "Rpc-Timeout: 30s\r\n", "")).await.status, 504);
    assert_eq!(began.elapsed().as_secs(), 30, "the request's holds, be it the default of others");
    for wrong in ["", "2", "s", "2 s", "-2s", "0s", "2d", "2.5s", "18446744073709551616s", "9000h", "2s\r\nRpc-Timeout: 2s", "ü"] {
        let answer = ask(&door, with("/Lab/remaining", &format!("Rpc-Timeout: {wrong}\r\n"), "")).await;
        answer.is_error(400, "malformed", "no", "Rpc-Timeout");
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_is_headers() {
    let (door, _lab) = lab();
    let metadata = async |headers: &str, key: &str| ask(&door, with("/Lab/metadata", headers, &json!([key]).to_string())).await.json();
    assert_eq!(metadata("Rpc-Metadata-Tenant: a b\r\n", "tenant").await, json!("a b"));
    assert_eq!(metadata("Rpc-Metadata-Tenant: a\r\nRpc-Metadata-Tenant: grün\r\n", "tenant").await, json!("grün"), "the last one holds");
    assert_eq!(metadata("Tenant: a\r\n", "tenant").await, json!(null), "other headers are no metadata");
    assert_eq!(metadata("Authorization: Bearer x\r\n", "authorization").await, json!("Bearer x"));
    let both = "Authorization: Bearer x\r\nRpc-Metadata-Authorization: Bearer y\r\n";
    assert_eq!(metadata(both, "authorization").await, json!("Bearer x"), "HTTP's own holds");
    for wrong in [&b"Rpc-Metadata-Tenant: \xff\r\n"[..], b"Rpc-Metadata-: a\r\n"] {
        let request = [&b"POST /Lab/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"[..], wrong, b"\r\n"].concat();
        ask(&door, request).await.is_error(400, "malformed", "no", "Rpc-Metadata-KEY");
    }
    let long = format!("Rpc-Metadata-Long: {}\r\n", "x".repeat(9000));
    ask(&door, with("/Lab/nothing", &long, "")).await.is_error(413, "too_large", "no", "Limits::max_metadata");
}

/// Conformance 60, over HTTP.
#[tokio::test(start_paused = true)]
async fn the_hook_sees_method_metadata_and_peer_before_arguments_are_decoded() {
    let lab = TestLab::new();
    let hook = |call: &CallInfo| match (call.method.as_str(), call.metadata.get("authorization"), call.peer.address()) {
        ("Lab.add", Some("Bearer good"), "door") => Ok(()),
        ("Lab.add", Some("Bearer poor"), "door") => Err(Error::new(ErrorKind::PermissionDenied, "not you")),
        ("Lab.add", Some("Bearer eager"), "door") => Err(Error::overloaded("later", Duration::from_millis(1500))),
        ("Lab.add", None, "door") => Err(Error::new(ErrorKind::Unauthenticated, "who are you?")),
        other => panic!("{other:?}"),
    };
    let door = serve(rig::server(&lab).hook(hook).http(Http::new()));
    let add = async |headers: &str, arguments: &str| ask(&door, with("/Lab/add", headers, arguments)).await;
    add("Authorization: Bearer good\r\n", "[1, 2]").await.is_value(3);
    let answer = add("", "nonsense").await;
    answer.is_error(401, "unauthenticated", "no", "Lab.add: who are you?");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    add("Authorization: Bearer poor\r\n", "nonsense").await.is_error(403, "permission_denied", "no", "not you");
    let answer = add("Authorization: Bearer eager\r\n", "nonsense").await;
    answer.is_error(503, "overloaded", "no", "later");
    assert_eq!((answer.header("retry-after"), &answer.json()["error"]["retry_after_ms"]), (Some("2"), &json!(1500)));
}

#[tokio::test]
async fn a_handler_sees_who_calls() {
    let lab = TestLab::new();
    let server = Server::new().add(LabServer::shared(lab)).http(Http::new()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().socket().unwrap();
    tokio::spawn(server.serve());
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let me = stream.local_addr().unwrap().to_string();
    Visitor::over(stream).ask(post("/Lab/peer", "")).await.is_value(me);
}

/// Names that are not served are not kept, however many are asked for on one connection; nor does a connection run out.
#[tokio::test(start_paused = true)]
async fn a_connection_may_ask_for_any_number_of_methods() {
    let mut limits = Limits::default();
    limits.max_binds = 1;
    let (door, _lab) = limited(limits);
    let mut visitor = Visitor::over(door.knock());
    for n in 0..5000 {
        assert_eq!(visitor.ask(post(&format!("/Lab/unknown{n}"), "")).await.status, 404);
    }
    visitor.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
    visitor.ask(post("/Lab/upper", r#"["x"]"#)).await.is_value("X");
    visitor.ask(post("/double", "[2]")).await.is_value(4);
}

#[tokio::test(start_paused = true)]
async fn what_runs_already_counts_for_http_too() {
    let mut limits = Limits::default();
    limits.max_handlers = 1;
    let (door, lab) = limited(limits);
    let mut first = Visitor::over(door.knock());
    first.send(post("/Lab/wait", "[1]")).await;
    lab.until_live(1).await;
    let answer = ask(&door, post("/Lab/add", "[1, 2]")).await;
    answer.is_error(503, "overloaded", "no", "Limits::max_handlers");
    assert_eq!(answer.header("retry-after"), Some("1"));
    lab.open(1);
    first.answer().await.unwrap().is_value(1);
}

#[tokio::test]
async fn a_server_without_json_has_no_door() {
    let error = Server::new().json(false).http(Http::new()).listen(rpc::transport::memory::pair().0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("Server::json"), "{error}");
}
