//! What is different on a terminal: colour, and JSON on several lines. `script` lends one.

use std::process::{Command, Output, Stdio};

use crate::checkout;

/// Runs the tool on a terminal, with these variables; what appears on it. None if this machine has no `script`.
fn on_a_terminal(arguments: &[&str], variables: &[(&str, &str)]) -> Option<String> {
    let words: Vec<String> = [env!("CARGO_BIN_EXE_rpc")].iter().chain(arguments).map(|word| format!("'{word}'")).collect();
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied()).stdin(Stdio::null());
    match command.output() {
        Ok(Output { stdout, .. }) => Some(String::from_utf8(stdout).unwrap().replace("\r\n", "\n")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("not tested: there is no `script` to lend a terminal");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn there_is_colour_on_a_terminal_unless_it_is_unwanted() {
    let server = checkout();
    let describe = ["describe", &server.address, "Checkout.quote"];
    let Some(painted) = on_a_terminal(&describe, &[]) else { return };
    assert!(painted.starts_with("\x1b[2m/// What these items cost together.\x1b[0m\n"), "{painted:?}");
    for unwanted in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_a_terminal(&describe, &[unwanted]).unwrap();
        assert!(plain.starts_with("/// What these items cost together.\n") && !plain.contains('\x1b'), "{plain:?}");
    }
    let wrong = on_a_terminal(&["list", "localhost"], &[]).unwrap();
    assert!(wrong.starts_with("\x1b[1;31merror\x1b[0m: `localhost` is not an address"), "{wrong:?}");
}

#[test]
fn a_reply_is_on_several_lines_on_a_terminal() {
    let server = checkout();
    let call = ["call", &server.address, "Checkout.quote", r#"[[{"sku":"tea","quantity":2}]]"#];
    let Some(pretty) = on_a_terminal(&call, &[]) else { return };
    assert_eq!(pretty, "{\n  \"currency\": \"EUR\",\n  \"minor\": 900\n}\n");
    let compact = on_a_terminal(&[&call[..], &["--compact"]].concat(), &[]).unwrap();
    assert_eq!(compact, "{\"currency\":\"EUR\",\"minor\":900}\n");
}

#[test]
fn a_load_shows_how_far_it_is_and_leaves_only_its_report() {
    let server = checkout();
    let Some(seen) = on_a_terminal(&["bench", &server.address, "Checkout.last_event", "-d", "1s", "-c", "2"], &[]) else { return };
    assert!(seen.contains(" %  ") && seen.contains(" a second"), "the bar was drawn: {seen:?}");
    let report = seen.rsplit("\x1b[2K").next().unwrap();
    assert!(report.contains("Checkout.last_event: ") && !report.contains(" a second"), "and is gone: {seen:?}");
}
