//! What `cargo run --example checkout` prints, line by line.

use crate::support::{self, Server, run};

const STEPS: &str = r#"1. authorize, capture a part, give a part back
   quote      3 tea, 1 pot                 EUR 49.90
   tokenize   card 4242                    visa ending in 4242, no number kept
   authorize  EUR 49.90                    authorized: EUR 49.90 authorized, EUR 0.00 captured, EUR 0.00 refunded
   capture    EUR 40.00                    captured: EUR 49.90 authorized, EUR 40.00 captured, EUR 0.00 refunded
   refund     EUR 10.00                    captured: EUR 49.90 authorized, EUR 40.00 captured, EUR 10.00 refunded
   refund     EUR 30.01                    refused: more than was captured and not given back yet
2. a decline is data
   pay        card 9995                    insufficient_funds: try again later, or another card
   pay        card 0119                    processing_error: try again later, or another card
   pay        card 9979, stolen            generic_decline: ask the card's issuer
3. 3-D Secure
   authorize  card 3220                    requires_action
   capture    before the holder confirms   refused: a payment that is requires_action takes no capture
   confirm    the holder's code            authorized
   void       USD 19.90                    canceled
4. the connection is cut after the server has charged
   pay        the answer is lost           unavailable, executed: maybe
   pay again  the same key                 captured USD 19.90
   pay again  the same key                 the same receipt
   pay again  the same key, another amount refused: the key belongs to another payment
   the book   charges of this order        1
5. a slow issuer meets a deadline
   pay        200 ms for a slow issuer     deadline exceeded, executed: maybe
   status     at once                      pending
   status     a second later               captured USD 19.90
6. the event stream is cut and goes on
   events     cut after 3 or more          unavailable
   events     after the last one seen      12 in order, no gap, 3 captures
7. by name, without the trait
   quote      [{sku: cup, quantity: 2}]    {"currency":"EUR","minor":1980}
   quote      [{sku: gin, quantity: 1}]    Some(UnknownSku("gin"))
   charge     [1]                          unimplemented, executed: no
"#;

const DRAIN: &str = "8. the server drains with work in flight
   pay        a slow issuer                in flight
   drain      no new calls
   pay        a slow issuer                captured USD 19.90
disconnected
drained
the books balance: 5 charges, 4 of them captured
";

#[test]
fn in_one_command_the_story_is_told_and_the_books_balance() {
    let ran = run("checkout", &[]);
    assert_eq!(ran.log, "");
    assert_eq!(ran.out, format!("listening on 127.0.0.1:PORT\nconnected to 127.0.0.1:PORT\n{STEPS}{DRAIN}"));
    assert_eq!(ran.code, Some(0));
}

#[test]
fn the_readme_shows_what_the_checkout_prints() {
    let readme = include_str!("../../../README.md");
    for line in STEPS.lines().chain(DRAIN.lines()) {
        assert!(readme.contains(line), "README.md lacks the line\n{line}");
    }
}

#[test]
fn in_two_processes_the_client_says_goodbye_and_the_server_logs_every_request_and_drains_at_sigterm() {
    let server = Server::start("checkout");
    let ran = run("checkout", &["client", "--addr", &server.address]);
    assert_eq!(ran.out, format!("connected to 127.0.0.1:PORT\n{STEPS}8. goodbye\ndisconnected\n"));
    assert_eq!((ran.log.as_str(), ran.code), ("", Some(0)));

    server.signal("TERM");
    let (code, log) = server.ended();
    let log = support::without_ports(&log.join("\n"));
    assert_eq!(code, Some(0), "{log}");
    let requests = log.lines().filter(|line| line.starts_with(" INFO request method=\"Checkout.pay\" peer=\"127.0.0.1:PORT\"")).count();
    // Three cards that are declined, four calls with the key of a lost answer, one slow card.
    assert_eq!(requests, 8, "{log}");
    assert!(log.ends_with(" INFO draining: no new calls; a second signal stops at once\n INFO drained"), "{log}");
    assert!(!log.contains("42424242") && !log.contains("40000000") && !log.contains("123456"), "a secret is in the log:\n{log}");
}
