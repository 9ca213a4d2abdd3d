//! Calls of every shape, with differences in arguments, results, errors and items, between ends of any age.

use futures_util::StreamExt;
use rpc::{Client, ErrorKind, Executed};
use rpc_tests::Kind;
use rpc_tests::evolve::{Ran, new, old};

use crate::ends::{KINDS, connect};

fn old_client() -> rpc::ClientOptions {
    Client::options().serve(old::buyer()).unwrap()
}

fn new_client() -> rpc::ClientOptions {
    Client::options().serve(new::buyer()).unwrap()
}

#[tokio::test]
async fn ends_of_one_age_understand_each_other() {
    for kind in KINDS {
        old::call_all(connect(kind, old::server(&Ran::default()), old_client()).await).await;
        new::call_all(connect(kind, new::server(&Ran::default()), new_client()).await).await;
    }
}

#[tokio::test]
async fn an_old_client_calls_a_new_server() {
    for kind in KINDS {
        let ran = Ran::default();
        old::call_all(connect(kind, new::server(&ran), old_client()).await).await;
        ran.until("note 4 tea").await;
        // The field that the old one does not know has its default.
        let order = ran.all().into_iter().find(|text| text.starts_with("order")).unwrap();
        assert!(order.contains(r#"currency: "EUR""#) && order.contains("id: 7"), "{order}");
    }
}

#[tokio::test]
async fn a_new_client_calls_an_old_server() {
    for kind in KINDS {
        let ran = Ran::default();
        new::call_all(connect(kind, old::server(&ran), new_client()).await).await;
        ran.until("note 4 tea").await;
        let order = ran.all().into_iter().find(|text| text.starts_with("order")).unwrap();
        assert!(order.contains("legacy: None") && order.contains("id: 7"), "{order}");
    }
}

/// On two threads, many at a time, and again after the first ones were bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_different_age_call_each_other_many_at_a_time() {
    let olds = connect(Kind::Tcp, new::server(&Ran::default()), old_client()).await;
    let news = connect(Kind::Tcp, old::server(&Ran::default()), new_client()).await;
    for _ in 0..5 {
        let calls: Vec<_> = (0..20).flat_map(|_| [tokio::spawn(old::call_all(olds.clone())), tokio::spawn(new::call_all(news.clone()))]).collect();
        for call in calls {
            call.await.unwrap();
        }
    }
}

/// A value that its reader cannot take fails its own call: arguments before the method runs, results after.
#[tokio::test]
async fn a_value_that_does_not_fit_fails_its_own_call() {
    let ran = Ran::default();
    let shop = old::ShopClient::from(connect(Kind::Memory, new::server(&ran), old_client()).await);
    let error = shop.depends(300).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::No), "{error}");
    assert!(error.message().starts_with("Evolve.depends: ") && error.message().contains('n'), "{error}");
    assert_eq!(shop.depends(255).await.unwrap(), 255);
    // An error that this end does not know: the method has run.
    let error = shop.pay(2).await.unwrap_err();
    let rpc::CallError::Rpc(error) = error else { panic!("{error:?}") };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::Yes), "{error}");
    assert!(error.message().starts_with("Evolve.pay: ") && error.message().contains("Later"), "{error}");
    // An item: the ones around it can be read.
    let items: Vec<_> = shop.events(3).await.unwrap().collect().await;
    assert_eq!(items.len(), 5);
    let error = items[4].as_ref().unwrap_err();
    assert!(error.kind() == ErrorKind::Malformed && error.message().contains("Opened"), "{error}");
    assert!(items[..4].iter().all(Result::is_ok));
    assert_eq!(shop.same(1).await.unwrap(), 2);
}
