//! Damaged requests: every cut, every flipped bit, and many at random. None ends the server, runs what was not asked for, or goes
//! without an answer while the connection stays.

use std::time::Duration;

use rpc::{Http, Server};
use rpc_tests::wire::Random;
use rpc_tests::{door::Door, settle};

use crate::{Visitor, ask, post, serve, with};

const REQUEST: &str = "POST /L%61b/add HTTP/1.1\r\nHost: localhost:80\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 6\r\n\
    Rpc-Timeout: 250ms\r\nRpc-Metadata-Tenant: a\r\nAuthorization: b\r\nOrigin: https://shop.example\r\nConnection: close\r\n\r\n[1, 2]";

fn server() -> Door {
    let add = |a: u32, b: u32| async move { a + b };
    serve(Server::new().method("Lab.add", add).http(Http::new().origin("https://shop.example")))
}

/// Sends it all and says that this was all; the statuses that came back.
async fn statuses(door: &Door, bytes: &[u8]) -> Vec<u16> {
    let mut visitor = Visitor::over(door.knock());
    visitor.send(bytes).await;
    let mut statuses = Vec::new();
    // A length that promises more than there is, or a head without its end: the server waits for it, and time passes.
    while visitor.more().await {}
    let text = String::from_utf8_lossy(&visitor.rest).into_owned();
    for (at, _) in text.match_indices("HTTP/1.1 ") {
        statuses.push(text[at + 9..at + 12].parse().unwrap());
    }
    statuses
}

#[tokio::test(start_paused = true)]
async fn a_damaged_request_is_answered_or_closed() {
    let door = server();
    let request = REQUEST.as_bytes();
    assert_eq!(statuses(&door, request).await, [200]);
    let mut seen = std::collections::BTreeMap::<u16, usize>::new();
    let mut check = async |bytes: &[u8]| {
        for status in statuses(&door, bytes).await {
            assert!([100, 200, 204, 400, 403, 404, 405, 408, 413, 415, 421, 431, 503, 504, 505].contains(&status), "{status}");
            *seen.entry(status).or_default() += 1;
        }
    };
    for at in 0..request.len() {
        check(&request[..at]).await;
    }
    for bit in 0..8 * request.len() {
        let mut bytes = request.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        check(&bytes).await;
    }
    let lines: Vec<&[u8]> = request.split_inclusive(|byte| *byte == b'\n').collect();
    let mut random = Random::new(9);
    for _ in 0..5_000 {
        let mut mutated: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
        for _ in 0..1 + random.below(3) {
            let (one, other) = (random.below(mutated.len()), random.below(mutated.len()));
            match random.below(5) {
                0 => mutated.insert(one, mutated[other].clone()),
                1 => mutated.swap(one, other),
                2 if mutated.len() > 1 => drop(mutated.remove(one)),
                3 => {
                    let (at, from) = (random.below(mutated[one].len()), random.below(mutated[other].len()));
                    let tail = mutated[other][from..].to_vec();
                    mutated[one].splice(at.., tail);
                }
                _ => {
                    let at = random.below(mutated[one].len());
                    if let Some(byte) = mutated[one].get_mut(at) {
                        *byte = random.below(256) as u8;
                    }
                }
            }
        }
        check(&mutated.concat()).await;
    }
    rpc_tests::report!("http mutations: {seen:?}");
    for status in [200, 400, 403, 404, 415, 421] {
        assert!(seen.contains_key(&status), "no {status} among {seen:?}");
    }
    settle().await;
    ask(&door, post("/Lab/add", "[1, 2]")).await.is_value(3);
}

/// The door's own reading of paths and headers, with letters that mean something to it.
#[tokio::test(start_paused = true)]
async fn odd_paths_and_headers_are_refused_in_words() {
    const PIECES: [&str; 24] =
        ["/", "//", "%", "%2F", "%2f", "%00", "%c3", "%a9", "%zz", ".", "..", "Lab", "add", "?", "#", "*", "&", "=", ";", "-", "é", "@", ":", "["];
    let door = server();
    let mut random = Random::new(10);
    let mut odd = |most: usize| (0..random.below(most + 1)).map(|_| PIECES[random.below(PIECES.len())]).collect::<String>();
    let mut visitor = Visitor::over(door.knock());
    let mut answered = 0;
    for _ in 0..20_000 {
        let headers = format!("Rpc-Timeout: {}\r\nRpc-Metadata-x: {}\r\n", if odd(3).len() > 2 { "1s" } else { "%" }, odd(4));
        visitor.send(with(&format!("/{}", odd(6)), &headers, "[1, 2]")).await;
        match tokio::time::timeout(Duration::from_secs(60), visitor.answer()).await.unwrap() {
            Some(answer) => {
                answered += 1;
                assert!([200, 400, 404, 421].contains(&answer.status), "{answer:?}");
                if answer.header("connection") == Some("close") || answer.text.is_empty() {
                    visitor = Visitor::over(door.knock());
                }
            }
            // hyper takes no such target.
            None => visitor = Visitor::over(door.knock()),
        }
    }
    assert!(answered > 10_000, "{answered}");
    ask(&door, post("/Lab/add", "[1, 2]")).await.is_value(3);
}
