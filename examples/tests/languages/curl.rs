//! `docs/http.md`: what it shows is what happens.

use std::process::Command;

use crate::support::Server;
use crate::{is_here, repository};

#[test]
fn the_commands_of_the_page_about_http_print_what_it_says() {
    if !is_here("curl", "RPC_NEEDS_CURL") {
        return;
    }
    let server = Server::start("checkout");
    let page = std::fs::read_to_string(repository("docs/http.md")).unwrap();
    let mut shown = Vec::new();
    for block in page.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        for run in block.split("$ ").skip(1) {
            let (command, output) = run.split_once('\n').unwrap();
            shown.push((command.replace("localhost:8080", &server.address), output.to_owned()));
        }
    }
    assert!(shown.len() >= 4, "the page shows {} commands", shown.len());
    for (command, output) in shown {
        let ran = Command::new("sh").args(["-c", &command]).env("NO_PROXY", "*").env("no_proxy", "*").output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(said.trim_end(), output.trim_end(), "{command}\n{}", String::from_utf8_lossy(&ran.stderr));
    }
}
