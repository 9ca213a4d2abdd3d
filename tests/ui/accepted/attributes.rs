//! Methods that are not there, methods that should not be called any more, and a trait of either kind.
#![deny(warnings)]

use rpc::service;

#[service]
#[cfg(all())]
pub trait Changing {
    async fn alpha(&self) -> u8;
    #[cfg(any())]
    async fn absent(&self, x: Missing) -> AlsoMissing;
    #[cfg(all())]
    async fn present(&self) -> u8;
    #[cfg(any())]
    async fn twice(&self) -> Missing;
    #[cfg(not(any()))]
    async fn twice(&self) -> u8;
    #[cfg(any())]
    #[rpc(blocking)]
    fn blocked(&self) -> Missing;
    #[deprecated = "call `alpha`"]
    #[cfg_attr(all(), doc = "Old.")]
    async fn old(&self) -> u8;
}

#[service]
#[cfg(any())]
pub trait Absent {
    async fn absent(&self, x: Missing) -> AlsoMissing;
}

#[service]
#[deprecated]
pub trait Past {
    async fn past(&self) -> u8;
}

struct Mine;
impl Changing for Mine {
    async fn alpha(&self) -> u8 {
        1
    }
    async fn present(&self) -> u8 {
        2
    }
    async fn twice(&self) -> u8 {
        3
    }
    async fn old(&self) -> u8 {
        4
    }
}

fn main() {
    use rpc::Service;
    let contract = ChangingServer::new(Mine).contract();
    let names: Vec<_> = contract.methods.iter().map(|method| method.name).collect();
    assert_eq!(names, ["alpha", "old", "present", "twice"]);
    let client = ChangingClient::local(Mine);
    let _ = (client.present(), client.twice());
}
