//! A disk that is full, a file that was damaged, and the order in which things reach the disk and the wire.

use std::io::Write;
use std::process::Command;

use crate::shop::{Folder, pay, status};
use crate::support::{Server, example};

/// M7: seen from outside, by the system calls that the server makes.
#[test]
fn m7_the_book_is_synced_before_a_receipt_leaves() {
    let folder = Folder::new("m7");
    let trace = folder.book() + ".trace";
    let options = ["-y", "-s", "400", "-o", &trace, "-e", "trace=fsync,fdatasync,write,writev,sendto,sendmsg"];
    let Some(command) = traced("m7", &options, &folder) else { return };
    let server = Server::ready(command);
    for n in 0..5 {
        assert_eq!(pay(&server.address, &format!("key-{n}"), &format!("order-{n}"), &[]).1, Some(0));
    }
    // The traced process ends, and strace with it; what it wrote is complete then.
    let traced = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    crate::support::kill("TERM", traced.trim().parse().unwrap());
    assert_eq!(server.ended().0, Some(0));

    let trace = std::fs::read_to_string(&trace).unwrap();
    let (mut synced, mut receipts) = (false, 0);
    for line in trace.lines() {
        let is_sync = line.contains("fdatasync") || line.contains("fsync");
        if is_sync && line.ends_with("= 0") {
            synced = true;
        }
        let to_a_socket = line.contains("<socket:") || line.contains("<TCP:");
        if to_a_socket && line.contains("tok_") {
            // A token was on disk too; what follows is the payment.
            assert!(synced, "a token left before a sync:\n{line}");
            synced = false;
        }
        if to_a_socket && line.contains("ch_") {
            assert!(synced, "a receipt left before a sync:\n{line}");
            (synced, receipts) = (false, receipts + 1);
        }
    }
    assert_eq!(receipts, 5, "every receipt was seen to leave");
}

/// A server on this book under strace; `None`, and words that say so, where nothing can be traced.
fn traced(test: &str, options: &[&str], folder: &Folder) -> Option<Command> {
    if Command::new("strace").args(["-o", "/dev/null", "true"]).output().map_or(true, |ran| !ran.status.success()) {
        let words = "NOT RUN, because strace is not here or may not trace; crash_points.rs holds the same on a disk in memory";
        writeln!(std::io::stderr(), "{test}: {words}").ok();
        return None;
    }
    let mut command = Command::new("strace");
    command.arg("-f").args(options).arg(example("checkout").get_program());
    command.args(["server", "--addr", "127.0.0.1:0", "--data", &folder.book()]);
    Some(command)
}

/// M8, by a kernel that says that it could not sync.
#[test]
fn m8_a_sync_that_fails_is_never_a_success() {
    let folder = Folder::new("m8-sync");
    // The book is made first: from then on every payment syncs as often.
    drop(folder.serve(&[]));
    let failing = ["-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=30+"];
    let Some(command) = traced("m8", &failing, &folder) else { return };
    let server = Server::ready(command);
    let mut captured = Vec::new();
    let (name, outcome, code) = loop {
        let name = format!("n{}", captured.len());
        let (outcome, code) = pay(&server.address, &name, &name, &[]);
        match code {
            Some(0) => captured.push(name),
            _ => break (name, outcome, code),
        }
        assert!(captured.len() < 100, "no sync has failed");
    };
    println!("{} captured, then {outcome}", captured.len());
    assert!(matches!(code, Some(1..=3)), "{outcome}");
    let (ended, log) = server.ended();
    assert_eq!(ended, Some(1), "{log:?}");
    assert!(log.iter().any(|line| line.contains("the book has failed")), "{log:?}");

    let server = folder.serve(&[]);
    let charges = folder.audit();
    let orders: Vec<_> = charges.iter().map(|charge| charge["order"].as_str().unwrap()).collect();
    assert!(captured.iter().all(|name| orders.contains(&name.as_str())), "nothing acknowledged is missing");
    assert!(charges.iter().all(|charge| charge["state"] == "captured"), "nothing hangs: {charges:?}");
    assert_eq!(pay(&server.address, &name, &name, &[]).1, Some(0), "the same key tells, or pays");
    assert_eq!(folder.audit().len(), captured.len() + 1);
}

/// M8, by a limit that the kernel enforces on the file.
#[test]
fn m8_a_disk_that_is_full_is_an_error_to_the_caller_and_charges_nothing() {
    let folder = Folder::new("m8");
    let server = folder.serve(&[]);
    assert_eq!(pay(&server.address, "before", "before", &[]).1, Some(0));
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));
    let length = std::fs::metadata(folder.book()).unwrap().len();

    // In blocks of 512 bytes, a little more than there is. Beyond it a write fails, as it would on a full disk.
    let limit = (length / 512 + 64).to_string();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh", &limit]).arg(example("checkout").get_program());
    command.args(["server", "--addr", "127.0.0.1:0", "--data", &folder.book()]);
    let server = Server::ready(command);
    let mut captured = vec!["before".to_owned()];
    let refused = loop {
        let name = format!("n{}", captured.len());
        let (outcome, code) = pay(&server.address, &name, &name, &[]);
        match code {
            Some(0) => captured.push(name),
            _ => break (name, outcome, code),
        }
        assert!(captured.len() < 5000, "the limit was never met");
    };
    let (name, outcome, code) = refused;
    println!("{} captured, then {outcome}", captured.len());
    assert!((outcome["outcome"] == "error" && code == Some(1)) || (outcome["outcome"] == "unknown" && code == Some(2)), "{outcome}");
    // What the disk holds is known to a new start alone: the server has said so, and is gone.
    let (ended, log) = server.ended();
    assert_eq!(ended, Some(1));
    assert!(log.last().is_some_and(|line| line.starts_with("error: ")), "{log:?}");

    let server = folder.serve(&[]);
    let charges = folder.audit();
    let orders: Vec<_> = charges.iter().map(|charge| charge["order"].as_str().unwrap()).collect();
    assert!(captured.iter().all(|name| orders.contains(&name.as_str())), "nothing acknowledged is missing");
    if outcome["outcome"] == "error" {
        assert_eq!(status(&server.address, &name)["outcome"], "not_found", "nothing was charged");
    }
    assert_eq!(pay(&server.address, &name, &name, &[]).1, Some(0), "the same key is good once there is room");
    assert_eq!(folder.audit().len(), captured.len() + 1);
}

/// M9.
#[test]
fn m9_a_damaged_file_is_refused_by_name_or_has_lost_nothing() {
    let folder = Folder::new("m9");
    let server = folder.serve(&[]);
    for n in 0..30 {
        assert_eq!(pay(&server.address, &format!("key-{n}"), &format!("order-{n}"), &[]).1, Some(0));
    }
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));
    let (whole, charges) = (std::fs::read(folder.book()).unwrap(), folder.audit());
    assert_eq!(charges.len(), 30);

    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    let mut damaged: Vec<(String, Vec<u8>)> = vec![
        ("half of it".into(), whole[..whole.len() / 2].to_vec()),
        ("something else".into(), b"this is no book at all, whatever its name says".repeat(1000)),
        ("its head is gone".into(), [vec![0; 4096], whole[4096..].to_vec()].concat()),
        ("its middle is gone".into(), [&whole[..used / 4], &vec![0; used / 2][..], &whole[used / 4 + used / 2..]].concat()),
    ];
    // A payment, wherever it stands.
    let mut changed = whole.clone();
    let places: Vec<_> = whole.windows(8).enumerate().filter(|(_, text)| *text == b"order-29").map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| changed[at + 7] = b'8');
    damaged.push(("another order was paid".into(), changed));
    let certain = damaged.len();
    for n in 0..24 {
        let mut bytes = whole.clone();
        // All over what is used.
        let at = used * n / 24 + 7;
        bytes[at..(at + 16).min(used)].iter_mut().for_each(|byte| *byte ^= 0xa5);
        damaged.push((format!("16 bytes from {at}"), bytes));
    }
    let all = damaged.len();
    for (number, (what, bytes)) in damaged.into_iter().enumerate() {
        std::fs::write(folder.book(), bytes).unwrap();
        let mut command = example("checkout");
        command.args(["server", "--addr", "127.0.0.1:0", "--data", &folder.book()]);
        match started(command) {
            Ok(server) => {
                drop(server);
                // Pages that are free, or hold what was replaced: nobody reads them.
                assert!(number >= certain, "{what}: it opened");
                assert_eq!(folder.audit(), charges, "{what}: it opened, and something is lost");
            }
            Err((code, log)) => {
                assert_eq!(code, Some(1), "{what}");
                assert_eq!(log.lines().count(), 1, "{what}: {log}");
                assert!(log.contains(&folder.book()), "{what}: {log}");
                refused += 1;
            }
        }
    }
    println!("{refused} of {all} refused");
    assert!(refused > certain, "only {refused} of {all} were found to be damaged");
    std::fs::write(folder.book(), whole).unwrap();
    assert_eq!(folder.audit(), charges);
}

/// A server, or the exit code and the log of one that would not start.
fn started(mut command: Command) -> Result<Server, (Option<i32>, String)> {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;
    let program = (command.get_program().to_owned(), command.get_args().map(ToOwned::to_owned).collect::<Vec<_>>());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    if first.is_empty() {
        let mut log = String::new();
        child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        return Err((child.wait().unwrap().code(), log));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // It starts: it will again.
    let mut command = Command::new(program.0);
    command.args(program.1);
    Ok(Server::ready(command))
}
