//! What went wrong, as a sentence with a hint, and the exit code that says it to scripts.

use std::io::{self, Write as _};
use std::process::ExitCode;

use rpc::{Error, ErrorKind};

use crate::screen;

/// What every command comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// A mistake on the command line, as `sysexits.h` has it.
pub(crate) const USAGE: u8 = 64;

/// Two servers that do not fit, and the method's own error.
pub(crate) const NO: u8 = 1;

/// For `--help`; `docs/cli.md` shows the same.
pub(crate) const CODES: &str = "\
Exit codes:
    0  it went well
    1  the method answered with an error of its own; `diff`: something breaks
   64  a mistake on the command line, an address or JSON that is none
   65  malformed: the method takes other arguments, or gives another result
   66  too large
   67  incompatible
   68  unimplemented: there is no such method
   69  unavailable: no connection, or it was lost
   70  internal: the handler panicked
   71  draining: the server is about to end
   72  cancelled, by Ctrl-C too
   73  any other error
   74  deadline exceeded
   75  overloaded: try again later
   76  the server speaks another protocol
   77  unauthenticated
   78  permission denied";

fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Service => NO,
        ErrorKind::InvalidInput => USAGE,
        ErrorKind::Malformed => 65,
        ErrorKind::TooLarge => 66,
        ErrorKind::Incompatible => 67,
        ErrorKind::Unimplemented => 68,
        ErrorKind::Unavailable => 69,
        ErrorKind::Internal => 70,
        ErrorKind::Draining => 71,
        ErrorKind::Cancelled => 72,
        ErrorKind::DeadlineExceeded => 74,
        ErrorKind::Overloaded => 75,
        ErrorKind::Protocol => 76,
        ErrorKind::Unauthenticated => 77,
        ErrorKind::PermissionDenied => 78,
        _ => 73,
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    /// None if all has been said, or nobody listens.
    message: Option<String>,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), hint: None, code: USAGE }
    }

    pub(crate) fn new(message: impl Into<String>, code: u8) -> Self {
        Self { message: Some(message.into()), hint: None, code }
    }

    /// The answer is no, and has been printed.
    pub(crate) fn said() -> Self {
        Self { message: None, hint: None, code: NO }
    }

    /// Its user has had enough.
    pub(crate) fn interrupted() -> Self {
        Self { message: None, hint: None, code: code(ErrorKind::Cancelled) }
    }

    pub(crate) fn has_hint(&self) -> bool {
        self.hint.is_some()
    }

    pub(crate) fn of_kind(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(message, code(kind))
    }

    /// Says what to do, in place of what is said otherwise.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn report(self) -> ExitCode {
        let Self { message, hint, code } = self;
        let mut err = io::stderr().lock();
        let color = screen::has_color(&err);
        // Nothing better can be done when the terminal is gone.
        if let Some(message) = message {
            let _ = writeln!(err, "{}: {}", screen::paint(color, screen::RED, "error"), screen::printable(&message));
        }
        if let Some(hint) = hint {
            let mut lines = hint.lines();
            let _ = writeln!(err, "{}: {}", screen::paint(color, screen::CYAN, "hint"), screen::printable(lines.next().unwrap_or_default()));
            let _ = lines.try_for_each(|line| writeln!(err, "      {}", screen::printable(line)));
        }
        ExitCode::from(code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = error.kind();
        let mut message = error.to_string();
        for cause in std::iter::successors(std::error::Error::source(&error), |cause| cause.source()) {
            let cause = cause.to_string();
            // Most say themselves why.
            if !message.ends_with(&cause) {
                message = format!("{message}: {cause}");
            }
        }
        let hint = hint(kind, &message);
        match kind {
            ErrorKind::InvalidInput => {}
            _ if message.contains(&kind.to_string()) => message.push_str(&format!(" (executed: {})", error.executed())),
            _ => message.push_str(&format!(" ({kind}, executed: {})", error.executed())),
        }
        if let Some(after) = error.retry_after() {
            message.push_str(&format!("; it asks to be left alone for {after:?}"));
        }
        Self { message: Some(message), hint: hint.map(str::to_owned), code: code(kind) }
    }
}

fn hint(kind: ErrorKind, message: &str) -> Option<&'static str> {
    match kind {
        ErrorKind::DeadlineExceeded => Some("give it longer: --timeout 1m"),
        ErrorKind::Unimplemented if message.contains("watch_json") => Some("its items are read by `rpc watch`"),
        ErrorKind::Unimplemented if message.contains("call_json") => Some("it is called by `rpc call`"),
        ErrorKind::Unauthenticated => Some("say who you are: --metadata NAME=VALUE, as the server expects it"),
        ErrorKind::Unavailable if message.contains("certificate") => Some("is --tls-ca the authority of this server's certificate?"),
        ErrorKind::Unavailable => Some("is a server running at this address?"),
        ErrorKind::Protocol if message.contains("speaks TLS") && cfg!(feature = "tls") => Some("speak TLS too: --tls-ca FILE"),
        ErrorKind::Protocol if message.contains("speaks TLS") => Some("this tool was built without TLS: cargo install --path rpc --features cli,tls"),
        ErrorKind::Protocol => Some("is this the port of a server of the crate `rpc`?"),
        _ => None,
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // `rpc list ADDR | head -1`: who reads has enough.
        let silent = error.kind() == io::ErrorKind::BrokenPipe;
        Self { message: (!silent).then(|| error.to_string()), hint: None, code: if silent { 0 } else { 73 } }
    }
}
