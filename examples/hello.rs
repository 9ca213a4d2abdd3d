//! A service, its server and its client, over a real socket: `cargo run --example hello`.

#[rpc::service]
trait Greeter {
    async fn greet(&self, name: &str) -> String;
}

struct Polite;

impl Greeter for Polite {
    async fn greet(&self, name: &str) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main]
async fn main() -> Result<(), rpc::Error> {
    let server = rpc::Server::new().add(GreeterServer::new(Polite)).bind("127.0.0.1:0").await?;
    let address = server.local_addr();
    tokio::spawn(server.serve());

    let greeter = GreeterClient::connect(address).await?;
    println!("{}", greeter.greet("world").await?);
    greeter.close().await;
    Ok(())
}
