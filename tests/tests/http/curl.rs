//! A client that is not ours.

use std::process::Command;

use rpc::{Http, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_can_call() {
    if Command::new("curl").arg("--version").output().is_err() {
        rpc_tests::report!("NOT RUN, because curl is not here");
        return;
    }
    let server = Server::new().method("double", |n: u64| async move { 2 * n }).http(Http::new()).bind("127.0.0.1:0").await.unwrap();
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
    assert!(curl(&["-d", "[21]", &url]).await.ends_with(" 415"), "a form is no JSON");
    assert!(curl(&[&url]).await.ends_with(" 405"));
}
