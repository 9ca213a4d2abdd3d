//! `docs/cli.md` shows what happens: its commands are run here, and what they print is compared.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::checkout;
use crate::support::Server;

/// The address that the text shows in place of whatever is free.
const SHOWN: &str = "localhost:8080";

/// A line that begins so is a command for a shell; those after it are what it prints, on stdout and stderr.
const PROMPT: &str = "$ ";

#[test]
fn the_documents_transcript_is_what_happens() {
    let text = include_str!("../../../docs/cli.md");
    let server = checkout();
    let folder = std::env::temp_dir().join(format!("rpc-transcript-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut commands = 0;
    for block in text.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").expect("every block ends");
        let mut now = String::new();
        for command in block.lines().filter_map(|line| line.strip_prefix(PROMPT)) {
            commands += 1;
            now.push_str(&format!("{PROMPT}{command}\n{}", run(command, &server, &folder)));
        }
        assert_eq!(block, now, "docs/cli.md shows the first, the second is what happens");
    }
    assert!(commands >= 10, "the blocks are found");
    std::fs::remove_dir_all(folder).ok();
}

/// What the command prints, and its exit code if that is not 0.
fn run(command: &str, server: &Server, folder: &Path) -> String {
    let tool = Path::new(env!("CARGO_BIN_EXE_rpc")).parent().unwrap();
    let path = format!("{}:{}", tool.display(), std::env::var("PATH").unwrap_or_default());
    let line = format!("{}\ncode=$?\n[ $code = 0 ] || echo \"(exit code $code)\"", command.replace(SHOWN, &server.address));
    let output =
        Command::new("sh").args(["-c", &format!("exec 2>&1\n{line}")]).current_dir(folder).env("PATH", path).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace(&server.address, SHOWN)
}

/// As `--help` has them.
#[test]
fn the_documents_exit_codes_are_the_tools() {
    let help = crate::rpc(&["--help"]).well();
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let text = include_str!("../../../docs/cli.md");
    let rows = codes.lines().map(|line| line.trim().split_once("  ").unwrap());
    for (code, meaning) in rows {
        assert!(text.contains(&format!("| {code} | {} |", meaning.trim())), "docs/cli.md has no row for {code}: {meaning}");
    }
}
