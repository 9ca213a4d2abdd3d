//! A stream of nothing in particular.

use rpc::Streaming;

#[rpc::service]
trait Feed {
    async fn untyped(&self, a: Streaming);
}

fn main() {}
