//! Who may call.

use rpc::{Client, ErrorKind, Executed};
use serde_json::{Value, json};

use crate::shop::Folder;
use crate::support::{Server, example, run};
use crate::till::{block_on, usd};

/// Case 60.
#[test]
fn without_a_known_api_key_a_call_is_refused_before_its_arguments_are_decoded() {
    let server = Server::with("checkout", &[], &[("CHECKOUT_API_KEYS", "first-secret, second-secret")]);
    block_on(async {
        let client = Client::connect(&server.address).await.unwrap();
        let nonsense = (1, "no order", usd(1), json!({}));
        for key in [None, Some("third-secret"), Some("")] {
            let call = client.call::<Value>("Checkout.pay", nonsense.clone());
            let call = match key {
                Some(key) => call.metadata("api-key", key),
                None => call,
            };
            let error = call.await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unauthenticated, Executed::No), "{error}");
        }
        // With a key the same arguments are looked at, and found to be wrong.
        let error = client.call::<Value>("Checkout.pay", nonsense).metadata("api-key", "second-secret").await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::No), "{error}");
    });
    let paying = ["pay", "--addr", &server.address, "--key", "k", "--order", "o", "--amount", "1", "--currency", "USD"];
    assert_eq!(run("checkout", &paying).code, Some(3), "without a key nothing is sent");
    let paid = example("checkout").args(paying).env("CHECKOUT_API_KEY", "first-secret").output().unwrap();
    assert_eq!(paid.status.code(), Some(0), "{}", String::from_utf8_lossy(&paid.stdout));
    server.signal("TERM");
    let (code, log) = server.ended();
    let log = log.join("\n");
    assert_eq!(code, Some(0));
    assert!(log.contains("request refused") && !log.contains("secret"), "{log}");
}

#[test]
fn api_keys_come_from_a_file_and_an_empty_one_is_no_open_door() {
    let folder = Folder::new("keys");
    let file = folder.book() + ".keys";
    std::fs::write(&file, "first-secret\n\nsecond-secret\n").unwrap();
    let server = folder.serve(&["--api-keys", &file]);
    let client = |key: &str| {
        let mut command = example("checkout");
        command.args(["client", "--addr", &server.address]).env("CHECKOUT_API_KEY", key).output().unwrap().status.code()
    };
    assert_eq!(client("second-secret"), Some(0));
    assert_eq!(client("first-secret\n"), Some(1));

    std::fs::write(&file, "\n").unwrap();
    let ran = run("checkout", &["server", "--addr", "127.0.0.1:0", "--api-keys", &file]);
    assert_eq!((ran.out.as_str(), ran.code), ("", Some(1)));
    assert!(ran.log.contains("there is no key in it"), "{}", ran.log);
}

#[test]
fn a_server_beyond_this_machine_warns_that_card_numbers_travel_in_clear() {
    let mut command = example("checkout");
    command.args(["server", "--addr", "0.0.0.0:0"]);
    let server = Server::ready(command);
    server.logged("card numbers travel in clear");
}
