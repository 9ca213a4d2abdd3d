//! `Strictness`, at either end.

use rpc::{Client, ErrorKind, Executed, Strictness};
use rpc_tests::Kind;
use rpc_tests::evolve::{Ran, new, old};

use crate::ends::connect;

/// Whether each of these is refused: a method whose values may not fit, one that differs and always fits, and one that is equal.
async fn refused(server: Strictness, client: Strictness) -> [bool; 3] {
    let client = connect(Kind::Memory, new::server(&Ran::default()).strictness(server), Client::options().strictness(client)).await;
    let shop = old::ShopClient::from(client);
    let mut refused = Vec::new();
    // While the schemas are exchanged, and when they are known.
    for _ in 0..2 {
        let (depends, extend, same) = tokio::join!(shop.depends(7), shop.extend(7), shop.same(7));
        refused.push([depends, extend, same].map(|result| match result {
            Ok(_) => false,
            Err(error) => {
                assert_eq!((error.kind(), error.executed()), (ErrorKind::Incompatible, Executed::No), "{error}");
                true
            }
        }));
    }
    assert_eq!(refused[0], refused[1]);
    refused[0]
}

#[tokio::test]
async fn either_end_may_want_less_than_what_works() {
    use Strictness::{Exact, Refuse, Warn};
    for (server, client, expected) in [
        (Warn, Warn, [false, false, false]),
        (Refuse, Warn, [true, false, false]),
        (Warn, Refuse, [true, false, false]),
        (Refuse, Refuse, [true, false, false]),
        (Exact, Warn, [true, true, false]),
        (Warn, Exact, [true, true, false]),
        (Exact, Refuse, [true, true, false]),
    ] {
        assert_eq!(refused(server, client).await, expected, "server {server:?}, client {client:?}");
    }
}

/// What cannot work is refused by each of them.
#[tokio::test]
async fn the_strictest_and_the_most_lenient_refuse_what_cannot_work() {
    for strictness in [Strictness::Warn, Strictness::Refuse, Strictness::Exact] {
        let ran = Ran::default();
        let shop = old::ShopClient::from(connect(Kind::Memory, new::server(&ran).strictness(strictness), Client::options()).await);
        let error = shop.never(1).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Incompatible, Executed::No), "{error}");
        assert_eq!(ran.count(), 0);
    }
}

#[tokio::test]
async fn refusals_name_what_was_chosen() {
    let options = Client::options().strictness(Strictness::Refuse);
    let shop = old::ShopClient::from(connect(Kind::Memory, new::server(&Ran::default()), options).await);
    assert_eq!(shop.same(1).await.unwrap(), 2);
    let error = shop.depends(7).await.unwrap_err();
    assert_eq!(error.message(), "Evolve.depends: some values cannot be read: n: u32 may not fit u8 (Strictness::Refuse)");
    let options = Client::options().strictness(Strictness::Exact);
    let shop = old::ShopClient::from(connect(Kind::Memory, new::server(&Ran::default()), options).await);
    assert_eq!(shop.same(1).await.unwrap(), 2);
    let error = shop.extend(7).await.unwrap_err();
    assert!(error.message().starts_with("Evolve.extend: ") && error.message().ends_with("(Strictness::Exact)"), "{error}");
}
