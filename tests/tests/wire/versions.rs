//! Two ends that do not know the same: versions of the protocol, frames, and contracts.

use rpc::{Client, ErrorKind, Executed, Server};
use rpc_tests::wire::{self, Raw, flag, kind};

use crate::service::{self, ShopClient};

/// Conformance 59: a client of a version that this server does not speak is told which it does.
#[tokio::test(start_paused = true)]
async fn a_peer_of_another_version_is_refused() {
    let (mut raw, task) = wire::serve(service::server());
    raw.send([b"\xf5rpc\r\n\x02\x00", &wire::frame(kind::HELLO, 0, &[&[1, 1]])[..], &wire::call(0, 0, &[])].concat()).await;
    let bytes = raw.bytes().await;
    wire::assert_bytes(
        &bytes,
        "
        f5 'rpc' 0d 0a 01 00    # preface
        02 02 00 00             # refused, 2 bytes
        01 01                   #   version 1 to 1
        ",
    );
    task.await.unwrap();
}

/// A refusal is two numbers: one that claims to be longer is not waited for, and whatever its bytes, nobody panics.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_any_length_ends_the_connection_and_nothing_else() {
    for length in [0, 1, 2, 1024, 1025, wire::MAX_FRAME - 1, wire::MAX_FRAME, wire::MAX_FRAME + 1, (1 << 24) - 1] {
        for preface in [wire::PREFACE, *b"\xf5rpc\r\n\x02\x00"] {
            for sent in [0, 1, length] {
                let refusal = [&preface[..], &wire::header(kind::REFUSED, 0, length), &vec![0; sent.min(length).min(70_000)]].concat();
                let (mut raw, task) = wire::serve(service::server());
                raw.send(&refusal).await;
                raw.shut().await;
                raw.bytes().await;
                task.await.unwrap();
                // The client's end, too.
                let (shop, mut raw) = client();
                let answers = async {
                    raw.send(&refusal).await;
                    raw.shut().await;
                };
                let (called, ()) = tokio::join!(shop.add(1, 2), answers);
                called.unwrap_err();
            }
        }
    }
}

fn client() -> (ShopClient, Raw) {
    let (near, far) = tokio::io::duplex(1 << 20);
    (Client::options().over(rpc::transport::Transport::over(near, "test")).into(), Raw::over(far))
}

/// Conformance 59: whatever its own version, a server's refusal is understood, and nothing was executed.
#[tokio::test(start_paused = true)]
async fn a_refused_client_says_which_versions_the_two_ends_speak() {
    for version in [1, 3] {
        let (shop, mut raw) = client();
        let answer = async {
            let preface = [b"\xf5rpc\r\n", &[version, 0][..]].concat();
            raw.send([preface, wire::frame(kind::REFUSED, 0, &[&[2, 3]])].concat()).await;
            raw.bytes().await
        };
        let (sum, _) = tokio::join!(shop.add(1, 2), answer);
        let error = sum.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Incompatible, Executed::No));
        assert!(error.message().contains("versions 2 to 3") && error.message().contains("version 1"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_frame_is_skipped_if_it_says_so_and_closes_if_not() {
    let mut raw = wire::opened(service::server()).await;
    raw.send([wire::frame(24, flag::SKIP, &[b"what is this?"]), wire::frame(31, flag::SKIP, &[]), wire::frame(kind::PING, 0, &[])].concat()).await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::PONG);
    raw.send(wire::frame(24, 0, &[b"and this?"])).await;
    let last = raw.frames().await.pop().unwrap();
    assert_eq!(last.go_away(), (1, 0, "unknown frame kind 24".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_of_a_hello_are_skipped() {
    let (mut raw, _task) = wire::serve(service::server());
    raw.send([wire::opening(&[(99, 7), (1, 100_000), (4, 200_000)]), wire::frame(kind::PING, 0, &[])].concat()).await;
    raw.opened().await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::PONG);
}

mod old {
    #[rpc::service(name = "Store")]
    pub trait Store {
        async fn change(&self, n: u32) -> u32;
        async fn gone(&self, n: u32) -> u32;
        async fn keep(&self, n: u32) -> u32;
        async fn result(&self, n: u32) -> u32;
    }
}

mod new {
    #[rpc::service(name = "Store")]
    pub trait Store {
        async fn added(&self, n: u32) -> u32;
        async fn change(&self, n: String) -> u32;
        async fn keep(&self, n: u32) -> u32;
        async fn result(&self, n: u32) -> (u32, u32);
    }

    pub struct My;

    impl Store for My {
        async fn added(&self, n: u32) -> u32 {
            n
        }
        async fn change(&self, _: String) -> u32 {
            panic!("called with another type")
        }
        async fn keep(&self, n: u32) -> u32 {
            n + 1
        }
        async fn result(&self, _: u32) -> (u32, u32) {
            panic!("called for another type")
        }
    }
}

/// Conformance 59: of two contracts, equal methods work and others say why not, on the same connection.
#[tokio::test(start_paused = true)]
async fn methods_that_changed_fail_alone() {
    let store: old::StoreClient = Client::local(new::StoreServer::new(new::My)).into();
    // Twice: refused by the callee, and then, its answer to the bind known, by the caller.
    for _ in 0..2 {
        for (result, name) in [(store.change(1).await, "Store.change"), (store.result(1).await, "Store.result")] {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Incompatible, Executed::No), "{error}");
            assert!(error.message().starts_with(name), "{error}");
        }
        let error = store.gone(1).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No));
        assert!(error.message().starts_with("Store.gone"), "{error}");
        assert_eq!(store.keep(1).await.unwrap(), 2);
    }
}

/// Conformance 6, 59: a service that the peer does not have.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_served_is_unimplemented() {
    let store: old::StoreClient = Client::local(service::ShopServer::new(service::My)).into();
    for _ in 0..2 {
        let error = store.keep(1).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No));
        assert!(error.message().starts_with("Store.keep"), "{error}");
    }
}

/// Protocol 4.2: one status a method.
#[tokio::test(start_paused = true)]
async fn a_bind_is_answered_method_by_method() {
    let mut raw = wire::opened(Server::new().add(new::StoreServer::new(new::My))).await;
    let keep = wire::method_hash("1:n 0\nu32\n", "7:returns 0\nu32\n");
    raw.send(wire::bind_service(0, "Store", &[("change", 1), ("gone", 2), ("keep", keep)])).await;
    raw.send(wire::bind_service(3, "Nothing", &[("a", 1), ("b", 2)])).await;
    assert_eq!(raw.frame().await.unwrap().body, [0, 1, 2, 0], "first number; incompatible, unknown method, equal");
    assert_eq!(raw.frame().await.unwrap().body, [3, 3, 3], "first number; unknown service, twice");
}
