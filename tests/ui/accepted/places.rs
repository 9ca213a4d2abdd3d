//! Any visibility, several services in one module, one in a function, and the library under another path.
#![deny(warnings, unreachable_pub)]

mod reexported {
    pub(crate) mod framework {
        pub(crate) use rpc::*;
    }
}

mod inner {
    use rpc::service;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Hidden;

    #[service]
    trait Private {
        async fn one(&self, hidden: Hidden) -> Hidden;
    }

    #[service]
    pub(crate) trait Wider {
        async fn one(&self) -> u8;
    }

    #[service(name = "wide.v2")]
    pub(super) trait Widest {
        #[rpc(name = "uno")]
        async fn one(&self) -> u8;
    }

    pub(crate) fn use_it(client: &rpc::Client) {
        let _ = PrivateClient::from(client.clone()).one(Hidden);
        let _ = std::any::type_name::<PrivateServer<u8>>();
    }
}

#[rpc::service(crate = "crate::reexported::framework")]
pub trait Elsewhere {
    async fn one(&self, cx: &reexported::framework::Context, n: u8) -> u8;
}

macro_rules! service_of {
    ($name:ident, $argument:ident, $ty:ty) => {
        #[rpc::service]
        pub trait $name {
            async fn get(&self, $argument: $ty, more: &$ty) -> Option<$ty>;
        }
    };
}
service_of!(Generated, key, u64);

struct Mine;
impl inner::Widest for Mine {
    async fn one(&self) -> u8 {
        1
    }
}

fn main() {
    #[rpc::service]
    trait Local {
        async fn get(&self) -> u8;
    }
    use rpc::Service;
    let contract = inner::WidestServer::new(Mine).contract();
    assert_eq!((contract.name, contract.methods[0].name), ("wide.v2", "uno"));
    let client = rpc::Client::local(inner::WidestServer::new(Mine));
    inner::use_it(&client);
    let _ = inner::WiderClient::from(client.clone()).one();
    let _ = LocalClient::from(client.clone()).get();
    let _ = ElsewhereClient::from(client.clone()).one(1);
    let _ = GeneratedClient::from(client).get(1, &2);
}
