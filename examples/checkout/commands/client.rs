//! The client alone: a full checkout against a server that runs somewhere, told on screen, and a graceful goodbye.

use super::Tried;
use super::steps::Steps;

pub async fn run(address: &str) -> Tried {
    let steps = Steps::begin(address).await?;
    println!("connected to {address}");
    steps.tell().await?;
    println!("8. goodbye");
    steps.goodbye().await;
    println!("disconnected");
    Ok(())
}
