//! Requests that somebody else's web page may have sent, and those that are no calls at all.

use rpc::{Http, Server};
use rpc_tests::{LabServer, TestLab, rig};
use serde_json::json;
use tokio::net::TcpStream;

use crate::{Visitor, ask, lab, post, serve, with};

/// A request with these headers instead of the usual ones.
fn bare(headers: &str) -> String {
    format!("POST /Lab/add HTTP/1.1\r\n{headers}Content-Length: 6\r\n\r\n[1, 2]")
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test(start_paused = true)]
async fn only_known_hosts_are_answered_for() {
    let (door, _lab) = lab();
    for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:99", "[::1]:8080"] {
        ask(&door, bare(&format!("Host: {host}\r\n{JSON}"))).await.is_value(3);
    }
    let foreign = ["evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1", "", "\u{fc}", "localhost\r\nHost: evil.example"];
    for host in foreign {
        let answer = ask(&door, bare(&format!("Host: {host}\r\n{JSON}"))).await;
        answer.is_error(421, "permission_denied", "no", "Http::host");
    }
    ask(&door, bare(JSON)).await.is_error(421, "permission_denied", "no", "Http::host");
    // An address in the request's first line overrules the header, for some.
    let absolute = |host: &str| bare(&format!("Host: localhost\r\n{JSON}")).replacen("/Lab", &format!("http://{host}/Lab"), 1);
    // What stands before an `@` is no host, and looks like one with a port.
    for host in ["evil.example", "localhost:1@evil.example", "localhost@evil.example"] {
        ask(&door, absolute(host)).await.is_error(421, "permission_denied", "no", "Http::host");
    }
    ask(&door, absolute("localhost:80")).await.is_value(3);
}

#[tokio::test]
async fn the_address_that_a_server_listens_on_is_a_host_of_its_own() {
    let bind =
        async |address: &str| Server::new().add(LabServer::shared(TestLab::new())).http(Http::new().host("api.example.com")).bind(address).await;
    let server = bind("127.0.0.2:0").await.unwrap();
    let address = server.local_addr().socket().unwrap();
    tokio::spawn(server.serve());
    for (host, status) in [(address.to_string(), 200), ("api.example.com".to_owned(), 200), ("127.0.0.3".to_owned(), 421)] {
        let mut visitor = Visitor::over(TcpStream::connect(address).await.unwrap());
        assert_eq!(visitor.ask(bare(&format!("Host: {host}\r\n{JSON}"))).await.status, status, "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_pages_of_listed_origins_may_call() {
    let lab = TestLab::new();
    let door = serve(rig::server(&lab).http(Http::new().origin("https://shop.example")));
    for origin in ["https://evil.example", "null", "http://localhost", "https://shop.example\r\nOrigin: https://evil.example"] {
        let answer = ask(&door, with("/Lab/add", &format!("Origin: {origin}\r\n"), "[1, 2]")).await;
        answer.is_error(403, "permission_denied", "no", "Http::origin");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let answer = ask(&door, with("/Lab/add", "Origin: https://shop.example\r\n", "[1, 2]")).await;
    answer.is_value(3);
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (Some("https://shop.example"), Some("Origin")));
    // An error of a call is for the page to read as well.
    let answer = ask(&door, with("/Lab/add", "Origin: https://shop.example\r\n", "[1]")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (400, Some("https://shop.example")));
    // Without one it is no browser.
    assert_eq!(ask(&door, post("/Lab/add", "[1, 2]")).await.header("access-control-allow-origin"), None);
}

#[tokio::test(start_paused = true)]
async fn a_browser_is_told_what_a_listed_page_may_send() {
    let lab = TestLab::new();
    let door = serve(rig::server(&lab).http(Http::new().origin("https://shop.example")));
    let preflight = |origin: &str| {
        let asks =
            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type,rpc-metadata-tenant, x-other, Authorization\r\n";
        format!("OPTIONS /Lab/add HTTP/1.1\r\nHost: localhost\r\n{origin}{asks}\r\n")
    };
    let answer = ask(&door, preflight("Origin: https://shop.example\r\n")).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("content-type, rpc-metadata-tenant, Authorization"));
    ask(&door, preflight("Origin: https://evil.example\r\n")).await.is_error(403, "permission_denied", "no", "");
    ask(&door, preflight("")).await.is_error(405, "unimplemented", "no", "");
}

#[tokio::test(start_paused = true)]
async fn a_body_has_to_be_declared_as_json() {
    let (door, _lab) = lab();
    let declared = async |headers: &str| ask(&door, bare(&format!("Host: localhost\r\n{headers}"))).await;
    for kind in ["application/json", "Application/JSON ; charset=UTF-8", "application/json;charset=\"utf-8\"", "application/json; x=y"] {
        declared(&format!("Content-Type: {kind}\r\n")).await.is_value(3);
    }
    let wrong = ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/json; charset=latin1", "\u{fc}"];
    for kind in wrong {
        declared(&format!("Content-Type: {kind}\r\n")).await.is_error(415, "malformed", "no", "application/json");
    }
    declared("").await.is_error(415, "malformed", "no", "application/json");
    declared(&format!("{JSON}Content-Type: text/plain\r\n")).await.is_error(415, "malformed", "no", "application/json");
    declared(&format!("{JSON}Content-Encoding: gzip\r\n")).await.is_error(415, "malformed", "no", "compressed");
    declared(&format!("{JSON}Content-Encoding: identity\r\nContent-Encoding: gzip\r\n")).await.is_error(415, "malformed", "no", "compressed");
    declared(&format!("{JSON}Content-Encoding: identity\r\n")).await.is_value(3);
}

#[tokio::test(start_paused = true)]
async fn a_method_is_called_by_post() {
    let (door, _lab) = lab();
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = ask(&door, post("/Lab/add", "[1, 2]").replacen("POST", method, 1)).await;
        answer.is_error(405, "unimplemented", "no", "POST");
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    let mut visitor = Visitor::over(door.knock());
    assert!(visitor.send("HEAD /Lab/add HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await);
    assert!(visitor.more().await);
    assert!(visitor.rest.starts_with(b"HTTP/1.1 405 "));
}

#[tokio::test(start_paused = true)]
async fn a_path_names_one_method() {
    let (door, _lab) = lab();
    for path in ["/", "//", "/Lab/", "//add", "/Lab/add/", "/a/b/c", "/Lab//add", "*"] {
        assert_eq!(ask(&door, post(path, "[1, 2]")).await.error().0, 404, "{path}");
    }
    for path in ["/Lab/%", "/Lab/%4", "/Lab/%zz", "/Lab/%ff", "/Lab/%+1", "/Lab/add?a=1", "/Lab/add?"] {
        assert_eq!(ask(&door, post(path, "[1, 2]")).await.error().0, 400, "{path}");
    }
    ask(&door, post(&format!("/Lab/{}", "x".repeat(600)), "")).await.is_error(404, "unimplemented", "no", "");
    let slashed = serve(Server::new().method("a/b", || async { "slash" }).method("x.y", || async { "dot" }).http(Http::new()));
    ask(&slashed, post("/a%2Fb", "")).await.is_value("slash");
    ask(&slashed, post("/x.y", "")).await.is_value("dot");
    ask(&slashed, post("/x/y", "")).await.is_value("dot");
    assert_eq!(ask(&slashed, post("/a/b", "")).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn answers_are_no_scripts() {
    let (door, _lab) = lab();
    let answer = ask(&door, post("/Lab/upper", r#"["<script>"]"#)).await;
    answer.is_value(json!("<SCRIPT>"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}
