//! Streams between real processes: good ones, and those whose client is killed.

use serde_json::json;

use crate::support::Server;
use crate::{call, ends_well, fails, serves};

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
    let count = call(&server, "count", &[]);
    assert_eq!((&count["value"]["finished"], &count["value"]["aborted"]), (&json!(3), &json!(0)), "{count}");
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
    let count = call(&server, "count", &[]);
    assert_eq!((&count["value"]["begun"], &count["value"]["running"]), (&json!(3), &json!(0)), "{count}");
    ends_well(server);
}
