//! Items that serde does not know.

use rpc::{Stream, Streaming};

struct Plain;

#[rpc::service]
trait Feed {
    fn events(&self) -> impl Stream<Item = Plain>;
    async fn import(&self, rows: Streaming<Plain>) -> u32;
}

struct Fed;

impl Feed for Fed {
    fn events(&self) -> impl Stream<Item = Plain> {
        futures_util::stream::empty()
    }
    async fn import(&self, _: Streaming<Plain>) -> u32 {
        0
    }
}

fn main() {}
