//! The service of these tests.

use rpc::Server;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub enum Tree {
    Leaf,
    Node(Box<Tree>),
}

#[rpc::service]
pub trait Shop {
    async fn add(&self, a: u32, b: u32) -> u32;
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    async fn fail(&self, why: String) -> Result<u8, String>;
    async fn never(&self) -> u8;
    #[rpc(oneway)]
    async fn note(&self, text: String);
    async fn tree(&self, tree: Tree) -> u32;
    async fn units(&self, units: Vec<()>) -> u64;
    async fn wide(&self, rows: Vec<Option<[u64; 32]>>) -> u64;
}

/// Numbers of the methods: their order by name.
pub const ADD: u64 = 0;
pub const ECHO: u64 = 1;
pub const FAIL: u64 = 2;
pub const NEVER: u64 = 3;
pub const NOTE: u64 = 4;
pub const TREE: u64 = 5;
pub const UNITS: u64 = 6;
pub const WIDE: u64 = 7;

pub struct My;

impl Shop for My {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
    async fn fail(&self, why: String) -> Result<u8, String> {
        Err(why)
    }
    async fn never(&self) -> u8 {
        std::future::pending().await
    }
    async fn note(&self, _text: String) {}
    async fn tree(&self, tree: Tree) -> u32 {
        let (mut depth, mut at) = (0, &tree);
        while let Tree::Node(next) = at {
            (depth, at) = (depth + 1, next);
        }
        depth
    }
    async fn units(&self, units: Vec<()>) -> u64 {
        units.len() as u64
    }
    async fn wide(&self, rows: Vec<Option<[u64; 32]>>) -> u64 {
        rows.len() as u64
    }
}

pub fn server() -> Server {
    Server::new().add(ShopServer::new(My))
}

/// The bind of this service.
pub fn bind() -> Vec<u8> {
    static BIND: std::sync::LazyLock<Vec<u8>> =
        std::sync::LazyLock::new(|| rpc_tests::wire::recorded_bind(|client| ShopClient::from(client).add(1, 2).owned()));
    BIND.clone()
}
