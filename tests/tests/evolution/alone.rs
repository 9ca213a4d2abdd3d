//! A method that cannot work fails alone, before it runs, with the reason; and the log tells once.

use rpc::{Client, ErrorKind, Executed};
use rpc_tests::Kind;
use rpc_tests::evolve::{Ran, new, old};

use crate::ends::{KINDS, connect};

#[tokio::test]
async fn incompatible_methods_fail_alone_and_say_why() {
    for kind in KINDS {
        let ran = Ran::default();
        let shop = old::ShopClient::from(connect(kind, new::server(&ran), Client::options()).await);
        // Twice: while the schemas are exchanged, and when they are known.
        for _ in 0..2 {
            let (never, answered, same) = tokio::join!(shop.never(1), shop.never_answered(1), shop.same(1));
            for (result, name, part) in [(never, "Evolve.never: ", "n"), (answered, "Evolve.never_answered: ", "reply")] {
                let error = result.unwrap_err();
                assert_eq!((error.kind(), error.executed()), (ErrorKind::Incompatible, Executed::No), "{error}");
                assert!(error.message().starts_with(name) && error.message().contains(part), "{error}");
            }
            assert_eq!(same.unwrap(), 2);
            let error = shop.gone().await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No));
        }
        assert_eq!(ran.count(), 0, "neither ran: {:?}", ran.all());
    }
}

/// The words that a caller reads.
#[tokio::test]
async fn reasons_name_the_method_and_the_place() {
    let shop = new::ShopClient::from(connect(Kind::Memory, old::server(&Ran::default()), Client::options()).await);
    assert_eq!(shop.same(1).await.unwrap(), 2);
    let error = shop.never("1".into()).await.unwrap_err();
    assert_eq!(error.message(), "Evolve.never: the peer cannot read these arguments: n: a string, where u32 is expected");
    let error = shop.never_answered(1).await.unwrap_err();
    assert!(error.message().starts_with("Evolve.never_answered: the peer's reply cannot be read: the reply: "), "{error}");
}
