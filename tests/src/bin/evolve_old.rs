//! A program that knows the service as it was: `server` serves it until its input ends, `client ADDR` calls everything.

use rpc::Client;
use rpc_tests::evolve::{Ran, old};
use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server"] => {
            let server = old::server(&Ran::default()).bind("127.0.0.1:0").await.expect("a free port");
            println!("READY {}", server.local_addr());
            let stop = async {
                let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
            };
            server.serve_until(stop).await.expect("it serves");
        }
        ["client", address] => {
            let options = Client::options().serve(old::buyer()).expect("one service");
            let client = options.connect(address).await.expect("a server");
            old::call_all(client.clone()).await;
            client.close().await;
            println!("OK");
        }
        _ => panic!("server, or client ADDR"),
    }
}
