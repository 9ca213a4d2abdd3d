//! `examples/python`: its own tests, against a server spoken by hand and against the checkout.

use std::process::Command;

use crate::support::Server;
use crate::{is_here, repository};

fn python(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("python3");
    // It leaves nothing in the repository.
    let ran = command.args(["-B", "-W", "error"]).args(arguments).current_dir(repository("examples/python")).output().unwrap();
    (ran.status.success(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
}

#[test]
fn the_python_client_calls_the_checkout() {
    if !is_here("python3", "RPC_NEEDS_PYTHON") {
        return;
    }
    let (server, conformance) = (Server::start("checkout"), Server::start("conformance"));
    let folder = std::env::temp_dir().join(format!("rpc-python-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [certificate, key] = ["server.pem", "server.key"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    // Its own authority.
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let secure = Server::with("checkout", &["--tls-cert", &certificate, "--tls-key", &key], &[]);
    let (passed, said) = python(&["test_client.py", &server.address, &conformance.address, &secure.address, &certificate]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(passed, "{said}");
    assert!(said.trim_end().ends_with("OK"), "none was skipped: {said}");
    for server in [server, conformance] {
        server.signal("TERM");
        let (code, log) = server.ended();
        assert_eq!(code, Some(0), "every connection has ended: {log:?}");
        assert!(!log.iter().any(|line| line.contains("broke") || line.contains("ended:")), "{log:?}");
    }
}

/// The command that its README shows.
#[test]
fn the_python_client_is_a_command_too() {
    if !is_here("python3", "RPC_NEEDS_PYTHON") {
        return;
    }
    let server = Server::start("checkout");
    let quote = |items: &str| python(&["client.py", &server.address, "Checkout.quote", items]);
    let (passed, said) = quote(r#"[[{"sku": "tea", "quantity": 2}]]"#);
    assert!(passed && said.contains("\"currency\": \"EUR\""), "{said}");
    let (passed, said) = quote(r#"{"items": [{"sku": "gold", "quantity": 2}]}"#);
    assert!(!passed && said.contains("UnknownSku") && said.contains("gold"), "{said}");
}
