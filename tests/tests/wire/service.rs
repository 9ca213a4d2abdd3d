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

/// The bind of this service, as `docs/protocol.md` 4.6 says its hashes are made.
pub fn bind() -> Vec<u8> {
    let returns = |ty: &str| format!("7:returns 0\n{ty}\n");
    let wide = format!("4:rows 0\nseq 1\noption 2\ntuple 32{}\nu64\n", " 3".repeat(32));
    let methods = [
        ("add", "1:a 0\n1:b 0\nu32\n", returns("u32")),
        ("echo", "5:bytes 0\nseq 1\nu8\n", returns("seq 1\nu8")),
        ("fail", "3:why 0\nstr\n", "7:returns 0\n5:error 1\nu8\nstr\n".to_owned()),
        ("never", "", returns("u8")),
        ("note", "4:text 0\nstr\n", String::new()),
        ("tree", "4:tree 0\nenum 4:Leaf unit 4:Node newtype 0\n", returns("u32")),
        ("units", "5:units 0\nseq 1\nunit\n", returns("u64")),
        ("wide", &wide, returns("u64")),
    ];
    let methods = methods.map(|(name, arguments, results)| (name, rpc_tests::wire::method_hash(arguments, &results)));
    rpc_tests::wire::bind_service(0, "Shop", &methods)
}
