//! The smallest whole thing: a service, its server and its client.

#[rpc::service]
trait Greeter {
    async fn greet(&self, name: String) -> String;
}

struct English;

impl Greeter for English {
    async fn greet(&self, name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), rpc::Error> {
    let server = rpc::Server::new().add(GreeterServer::new(English)).bind("127.0.0.1:0").await?;
    let client = GreeterClient::connect(server.local_addr()).await?;
    tokio::spawn(server.serve());
    assert_eq!(client.greet("Ada".into()).await?, "Hello, Ada!");
    Ok(())
}
