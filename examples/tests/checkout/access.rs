//! Who may call.

use rpc::{Client, ErrorKind, Executed, Named};
use serde_json::{Value, json};

use crate::shop::{Folder, pay};
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

/// What is not text may hold keys all the same.
#[cfg(unix)]
#[test]
fn api_keys_that_cannot_be_read_are_no_open_door() {
    use std::os::unix::ffi::OsStrExt;
    let keys = std::ffi::OsStr::from_bytes(b"first-secret,\xff");
    // Refused at once, so nothing is left running; a server that took it would go on.
    let mut command = example("checkout");
    command.args(["server", "--addr", "127.0.0.1:0"]).env("CHECKOUT_API_KEYS", keys);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut first).unwrap();
    child.kill().ok();
    let ran = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&ran.stderr);
    assert_eq!((first.as_str(), ran.status.code()), ("", Some(1)), "{log}");
    assert!(log.contains("CHECKOUT_API_KEYS") && !log.contains("secret"), "{log}");
}

#[test]
fn a_server_beyond_this_machine_warns_that_card_numbers_travel_in_clear() {
    let mut command = example("checkout");
    command.args(["server", "--addr", "0.0.0.0:0"]);
    let server = Server::ready(command);
    server.logged("card numbers travel in clear");
}

/// The certificate of an authority, and one of its for `localhost` with its key.
fn certificates(folder: &Folder) -> [String; 3] {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let certificate = server.signed_by(&key, &issuer).unwrap();
    [("ca.pem", authority_certificate.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
        .map(|(name, pem)| folder.file(name, &pem))
}

/// Case 57, from outside.
#[test]
fn over_tls_a_payment_is_a_payment_and_without_it_nothing_is_sent() {
    let folder = Folder::new("tls");
    let [authority, certificate, key] = certificates(&folder);
    let server = folder.serve(&["--tls-cert", &certificate, "--tls-key", &key]);
    let address = &server.address;

    let (line, code) = pay(address, "k1", "o1", &["--tls-ca", &authority]);
    assert_eq!((line["outcome"].as_str(), code), (Some("captured"), Some(0)), "{line}");
    let (line, code) = crate::shop::line(&["status", "--addr", address, "--key", "k1", "--tls-ca", &authority]);
    assert_eq!((line["outcome"].as_str(), code), (Some("captured"), Some(0)), "{line}");

    // In clear nothing is taken, and the reason says why; with another authority nothing is even said.
    let (line, code) = pay(address, "k2", "o2", &[]);
    assert_eq!((line["outcome"].as_str(), code), (Some("not_sent"), Some(3)), "{line}");
    assert!(line["reason"].as_str().unwrap().contains("TLS"), "{line}");
    let other = Folder::new("tls-other");
    let [other_authority, ..] = certificates(&other);
    let (line, code) = pay(address, "k3", "o3", &["--tls-ca", &other_authority]);
    assert_eq!((line["outcome"].as_str(), code), (Some("not_sent"), Some(3)), "{line}");

    // The whole story, cut wire and all.
    let told = run("checkout", &["client", "--addr", address, "--tls-ca", &authority]);
    assert_eq!(told.code, Some(0), "{}", told.log);
    assert!(told.out.ends_with("disconnected\n"), "{}", told.out);
    drop(server);
    let charged = folder.audit();
    assert!(charged.iter().any(|charge| charge["key"] == "k1") && !charged.iter().any(|charge| charge["key"] == "k2" || charge["key"] == "k3"));
}

#[test]
fn a_certificate_without_its_key_is_a_usage_error() {
    let ran = run("checkout", &["server", "--addr", "127.0.0.1:0", "--tls-cert", "cert.pem"]);
    assert_eq!((ran.out.as_str(), ran.code), ("", Some(64)));
    assert!(ran.log.contains("--tls-key"), "{}", ran.log);
}

#[test]
fn beyond_this_machine_with_tls_there_is_nothing_to_warn_of() {
    let folder = Folder::new("tls-warning");
    let [authority, certificate, key] = certificates(&folder);
    let mut command = example("checkout");
    command.args(["server", "--addr", "0.0.0.0:0", "--tls-cert", &certificate, "--tls-key", &key]);
    let server = Server::ready(command);
    let port = server.address.rsplit(':').next().unwrap();
    let (line, code) = pay(&format!("127.0.0.1:{port}"), "k1", "o1", &["--tls-ca", &authority]);
    assert_eq!(code, Some(0), "{line}");
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    assert!(!log.iter().any(|line| line.contains("in clear")), "{log:?}");
}

/// A card number of the wrong type is repeated to nobody, and one in the wrong place not to the log.
#[test]
fn a_card_number_that_cannot_be_read_is_in_no_log() {
    const DIGITS: &str = "4242424242424242";
    const NUMBER: u64 = 4_242_424_242_424_242;
    let server = Server::start("checkout");
    let expiry = json!({ "year": 2099, "month": 12 });
    block_on(async {
        let client = Client::connect(&server.address).await.unwrap();
        for card in [
            json!({ "number": NUMBER, "expiry": expiry, "cvc": "123" }),
            json!({ "number": [DIGITS], "expiry": expiry, "cvc": "123" }),
            json!({ "number": format!("{DIGITS}1"), "expiry": expiry, "cvc": "123" }),
            json!({ "number": DIGITS, "expiry": expiry, "cvc": NUMBER }),
        ] {
            let error = client.call::<Value>("Checkout.tokenize", (&card,)).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("42424242"), "{error} {error:?}");
        }
        for card in [json!({ "number": DIGITS, "expiry": DIGITS, "cvc": "123" }), json!({ DIGITS: NUMBER }), json!(DIGITS), json!(NUMBER)] {
            client.call::<Value>("Checkout.tokenize", (&card,)).await.unwrap_err();
            client.call::<Value>("Checkout.pay", (DIGITS, &card, &card, &card)).await.unwrap_err();
            client.call::<Value>("Checkout.pay", Named(json!({ DIGITS: card }))).await.unwrap_err();
        }
    });
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    assert!(!log.iter().any(|line| line.contains("42424242")), "{log:?}");
}
