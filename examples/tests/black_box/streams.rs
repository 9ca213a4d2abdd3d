//! Streams between real processes: good ones, and those whose client is killed or goes without a word.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::speak::{self, CHAT, DOWNLOAD, FIRST_WINDOW, PANIC_AFTER, UPLOAD};
use crate::support::{Server, example};
use crate::wire::{self, kind};
use crate::{call, ends_well, eventually, fails, running, serves};

/// One of the server's own counts: see `conformance.rs`.
fn count(server: &Server, of: &str) -> u64 {
    call(server, "count", &[])["value"][of].as_u64().unwrap()
}

/// A client process that would be busy for longer than any test.
fn busy(server: &Server, method: &str) -> Child {
    let arguments = ["call", method, "--bytes", "10000000000", "--addr", &server.address];
    example("conformance").args(arguments).stdout(Stdio::null()).spawn().unwrap()
}

/// The figure is 100 ms; this is only against hanging.
fn kill(mut client: Child, what: &str, is: impl FnMut() -> bool) {
    client.kill().unwrap();
    client.wait().unwrap();
    let killed = Instant::now();
    eventually(what, is);
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?} until {what}", killed.elapsed());
}

/// Case 11.
#[test]
fn an_upload_is_summed() {
    let server = Server::start("conformance");
    let line = call(&server, "upload", &[]);
    assert_eq!(line["value"], json!({ "items": 4, "bytes": 74_922, "same": true }), "{line}");
    // More than any window, and an item that is shorter than the others.
    let line = call(&server, "upload", &["--bytes", "3000001"]);
    assert_eq!(line["value"], json!({ "items": 301, "bytes": 3_000_001, "same": true }), "{line}");
    // None at all.
    let line = call(&server, "upload", &["--bytes", "0"]);
    assert_eq!(line["value"], json!({ "items": 0, "bytes": 0, "same": true }), "{line}");
    assert_eq!((count(&server, "finished"), count(&server, "aborted")), (3, 0));
    ends_well(server);
}

/// Case 12.
#[test]
fn a_download_keeps_sizes_and_order() {
    let server = Server::start("conformance");
    let line = call(&server, "download", &[]);
    assert_eq!(line["value"], json!({ "items": 4, "bytes": 93_056, "same": true, "sizes": [31_415, 9, 2_653, 58_979] }), "{line}");
    let line = call(&server, "download", &["--bytes", "3000001"]);
    assert_eq!(line["value"], json!({ "items": 301, "bytes": 3_000_001, "same": true, "sizes": null }), "{line}");
    ends_well(server);
}

/// Case 13.
#[test]
fn a_chat_takes_turns() {
    let server = Server::start("conformance");
    let line = call(&server, "chat", &[]);
    assert_eq!(line["value"], json!({ "turns": 4, "same": true, "sizes": [27_182, 8, 1_828, 45_904] }), "{line}");
    // Lines that are longer than a window, than a frame, and nothing at all.
    for bytes in [0, 100_000, 1_000_000] {
        let line = call(&server, "chat", &["--bytes", &bytes.to_string()]);
        assert_eq!(line["value"], json!({ "turns": 4, "same": true, "sizes": vec![bytes; 4] }), "{line}");
    }
    ends_well(server);
}

/// Case 30, in the poll of a stream: at once, within a frame, and beyond a window.
#[test]
fn a_stream_that_panics_is_an_error_and_harms_nobody() {
    let mut server = Server::start("conformance");
    for items in ["0", "3", "100000"] {
        fails(&call(&server, "panic_after", &["--bytes", items]), "Internal", "yes");
        serves(&mut server);
    }
    assert_eq!((count(&server, "begun"), count(&server, "running")), (3, 0));
    ends_well(server);
}

/// Cases 18 and 27.
#[test]
fn a_client_that_is_killed_in_the_middle_of_an_upload_is_an_error_and_no_end() {
    let mut server = Server::start("conformance");
    let client = busy(&server, "upload");
    eventually("items have come", || count(&server, "taken") > 0);
    kill(client, "the handler sees an error", || count(&server, "aborted") == 1);
    eventually("the handler has ended", || running(&server) == 0);
    assert_eq!(count(&server, "finished"), 0);
    serves(&mut server);
    ends_well(server);
}

/// Case 18, by hand: whatever way a caller gives up, and wherever it stands by then.
#[tokio::test]
async fn an_upload_that_is_given_up_is_an_error_and_no_end() {
    let mut server = Server::start("conformance");
    let whole = speak::item(&[7; 1000]);
    let cancel = wire::frame(kind::CANCEL, 0, &[&[0]]);
    let mut aborted = 0;
    for (sent, items) in [(&[][..], 0), (&whole[..], 1), (&whole[..500], 0), (&whole[..1], 0), (&[&whole[..], &whole[..700]].concat()[..], 1)] {
        for (how, bytes) in [("an end that is none", speak::end(0, 1)), ("a cancel", cancel.clone()), ("neither", Vec::new())] {
            let mut raw = speak::open(&server).await;
            assert!(raw.send([wire::call(0, UPLOAD, &[]), speak::items(0, sent)].concat()).await);
            // So far, all is well.
            assert!(raw.send(wire::frame(kind::PING, 0, &[])).await);
            assert_eq!(speak::within(raw.frame()).await.map(|frame| frame.kind), Some(kind::PONG));
            assert!(raw.send(&bytes).await);
            if how == "neither" {
                drop(raw);
            } else {
                // The handler is detached, so that it has the last word after a cancel as well.
                let text = format!("Cancelled after {items} items");
                let failed = [&wire::varint(text.len() as u64)[..], text.as_bytes()].concat();
                assert_eq!(speak::message(&mut raw).await, (kind::FAIL, 0, failed), "{how}");
            }
            aborted += 1;
            eventually(how, || count(&server, "aborted") == aborted);
        }
    }
    assert_eq!(count(&server, "finished"), 0);
    serves(&mut server);
    ends_well(server);
}

/// Cases 24 (after_first_item) and 27.
#[test]
fn a_client_that_is_killed_in_the_middle_of_a_download_takes_its_handler_with_it() {
    let mut server = Server::start("conformance");
    let client = busy(&server, "download");
    eventually("items have left", || count(&server, "made") > 0);
    kill(client, "the handler is dropped", || running(&server) == 0);
    serves(&mut server);
    ends_well(server);
}

/// Case 24 (after_first_item), by hand: the handler is dropped while it waits for credit, or for its caller's next line.
#[tokio::test]
async fn a_caller_that_goes_after_the_first_item_takes_the_handler_with_it() {
    let mut server = Server::start("conformance");
    // More than the window has room for, so that it cannot end by itself.
    let download = wire::call(0, DOWNLOAD, &speak::sizes(&[1_000; 100]));
    let chat = [wire::call(0, CHAT, &[]), speak::items(0, &speak::item(&[1; 1_000]))].concat();
    for (what, bytes) in [("a download", download), ("a chat", chat)] {
        for cancels in [true, false] {
            let mut raw = speak::open(&server).await;
            assert!(raw.send(&bytes).await);
            let mut items = 0;
            while items < 1_000 {
                let frame = speak::within(raw.frame()).await.unwrap();
                // Credit for the lines may come between.
                if frame.kind == kind::REPLY_ITEMS {
                    items += frame.number().1.len();
                }
            }
            assert_eq!(running(&server), 1, "{what}");
            if cancels {
                assert!(raw.send(wire::frame(kind::CANCEL, 0, &[&[0]])).await);
                let last = loop {
                    let frame = speak::within(raw.frame()).await.unwrap();
                    if !matches!(frame.kind, kind::REPLY_ITEMS | kind::CALL_CREDIT) {
                        break frame;
                    }
                    items += frame.number().1.len();
                };
                assert!(items <= FIRST_WINDOW, "{items} bytes of items");
                let (code, executed, _, message) = last.error();
                assert_eq!((code, executed), (1, 1), "{what}: {message}");
                // Its id is free.
                assert!(raw.send(wire::call(0, speak::ECHO, &[1, 9])).await);
                assert_eq!(speak::message(&mut raw).await, (kind::REPLY, 0, vec![1, 9]), "{what}");
            } else {
                drop(raw);
            }
            let gone = Instant::now();
            eventually(what, || running(&server) == 0);
            assert!(gone.elapsed() < Duration::from_secs(1), "{what}: {:?}", gone.elapsed());
        }
    }
    serves(&mut server);
    ends_well(server);
}

/// Case 30, by hand: one last frame, which keeps the panic's text to the server, and the connection goes on.
#[tokio::test]
async fn two_hundred_panics_between_items_are_two_hundred_errors() {
    let mut server = Server::start("conformance");
    let mut raw = speak::open(&server).await;
    for round in 0..200_u64 {
        assert!(raw.send(wire::call(round % 3, PANIC_AFTER, &wire::varint(round))).await);
        let mut items = 0;
        let last = loop {
            let frame = speak::within(raw.frame()).await.expect("a frame");
            assert_eq!(frame.number().0, round % 3);
            if frame.kind != kind::REPLY_ITEMS {
                break frame;
            }
            items += frame.number().1.len();
        };
        // Numbers of one byte, and some of two, behind their lengths.
        assert!(items <= 3 * round as usize, "{items} bytes of {round} items");
        let (code, executed, _, message) = last.error();
        assert_eq!((code, executed), (11, 2), "{message}");
        assert!(!message.contains("as asked"), "{message}");
        assert!(raw.send(wire::call(9, speak::ECHO, &[1, 9])).await);
        assert_eq!(speak::message(&mut raw).await, (kind::REPLY, 9, vec![1, 9]));
    }
    drop(raw);
    eventually("every handler has ended", || running(&server) == 0);
    assert_eq!(count(&server, "begun"), 200);
    serves(&mut server);
    ends_well(server);
}
