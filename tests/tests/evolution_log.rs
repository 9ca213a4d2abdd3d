//! What two ends of different age say of each other in their logs: one line each, when they meet. A process of its own, as such
//! lines are held to one a second.
#![allow(missing_docs, clippy::unwrap_used)]

use rpc::{Client, Error};
use rpc_tests::evolve::{Ran, new, old};
use rpc_tests::log::Log;

#[tokio::test]
async fn differences_are_logged_once_when_they_are_met() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let server = new::server(&Ran::default()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve());
    let shop = old::ShopClient::from(Client::connect(&address).await.unwrap());
    let say = |result: Result<u32, Error>| result.map_err(|error| error.message().to_owned());
    assert_eq!(say(shop.same(1).await), Ok(2));
    // Which waits for what both have found.
    assert_eq!(say(shop.extend(3).await), Ok(3));
    let lines: Vec<String> = log.take();
    let about = |lines: &[String], what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(lines.len(), 2, "one of each end: {lines:#?}");
    for said in [
        "Evolve.never: the peer's arguments cannot be read: n: ",
        "Evolve.never: the peer cannot read these arguments: n: ",
        "Evolve.never_answered: the peer's reply cannot be read: ",
        "Evolve.never_answered: the peer cannot read the reply: ",
    ] {
        assert_eq!(about(&lines, said), 1, "{said}: {lines:#?}");
    }
    for line in &lines {
        assert!(line.contains(" knows Evolve differently: Evolve."), "{line}");
        assert!(line.contains("Evolve.depends: adapted, but n: u32 may not fit u8"), "{line}");
        assert!(line.contains("Evolve.extend: adapted;"), "{line}");
        assert!(!line.contains("Evolve.same"), "{line}");
    }
    // Calls and refusals later on are no news.
    for _ in 0..10 {
        assert_eq!(say(shop.extend(3).await), Ok(3));
        shop.never(1).await.unwrap_err();
    }
    assert_eq!(log.take(), [""; 0]);
}
