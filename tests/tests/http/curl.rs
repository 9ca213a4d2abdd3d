//! A client that is not ours.

use std::process::Command;

use futures_util::StreamExt;
use rpc::{Http, Server, Streaming};

/// That of `docs/http.md`.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Row {
    amount: u64,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Summary {
    rows: usize,
}

#[rpc::service]
trait Ledger {
    async fn import(&self, account: &str, rows: Streaming<Row>) -> Summary;
}

struct Paper;

impl Ledger for Paper {
    async fn import(&self, account: &str, rows: Streaming<Row>) -> Summary {
        assert_eq!(account, "a");
        Summary { rows: rows.map(Result::unwrap).enumerate().map(|(at, row)| assert_eq!(row.amount, at as u64 + 1)).count().await }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_can_call() {
    if Command::new("curl").arg("--version").output().is_err() {
        rpc_tests::report!("NOT RUN, because curl is not here");
        return;
    }
    let server = Server::new()
        .add(LedgerServer::new(Paper))
        .method("double", |n: u64| async move { 2 * n })
        .http(Http::new())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve());
    let curl = async |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--noproxy", "*", "--max-time", "30", "--write-out", " %{http_code}"]).args(arguments);
        let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    let url = format!("http://{address}/double");
    let by_name = format!("http://localhost:{}/double", address.port().unwrap());
    let json = "Content-Type: application/json";
    assert_eq!(curl(&["-H", json, "-d", "[21]", &url]).await, "42 200");
    assert_eq!(curl(&["-4", "-H", json, "-d", "[21]", &by_name]).await, "42 200");
    assert_eq!(curl(&["-H", json, "-H", "Transfer-Encoding: chunked", "-d", "[21]", &url]).await, "42 200");
    // Two requests on one connection.
    assert_eq!(curl(&["-H", json, "-d", "[1]", &url, &url]).await, "2 2002 200");
    let ledger = format!("http://{address}/Ledger/import");
    let body = "{\"account\":\"a\"}\n{\"amount\":1}\n{\"amount\":2}\n";
    let lines = ["-H", "Content-Type: application/x-ndjson", "--data-binary", body, &ledger];
    assert_eq!(curl(&lines).await, r#"{"rows":2} 200"#);
    // As it reads them.
    let script = format!(
        r#"printf '%s\n' '{{"account":"a"}}' '{{"amount":1}}' | curl -sS --noproxy '*' --max-time 30 -X POST -T - -H 'Content-Type: application/x-ndjson' {ledger}"#
    );
    let ran = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &script]).output().unwrap()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), r#"{"rows":1}"#, "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(curl(&["-d", "[21]", &url]).await.ends_with(" 415"), "a form is no JSON");
    assert!(curl(&[&url]).await.ends_with(" 405"));
}
