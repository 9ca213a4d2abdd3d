//! The client alone: a full checkout against a server that runs somewhere, told on screen, and a graceful goodbye.

use super::steps::Steps;
use super::{Tried, Trust};

pub async fn run(address: &str, trust: &Trust) -> Tried {
    let steps = Steps::begin(address, trust).await?;
    println!("connected to {address}");
    steps.tell().await?;
    println!("8. goodbye");
    steps.goodbye().await;
    println!("disconnected");
    Ok(())
}
