//! Texts for errors: short whatever the peer sent.

use std::fmt::{self, Write};

/// As much of a message as an error shows.
const LONGEST: usize = 200;

/// What `message` writes, up to a limit, on one line: it may quote what a peer sent.
pub(crate) fn capped(message: impl fmt::Display) -> String {
    struct Capped(String);
    impl Write for Capped {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for letter in text.chars() {
                if self.0.len() >= LONGEST {
                    self.0.push('…');
                    return Err(fmt::Error);
                }
                self.0.push(if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter });
            }
            Ok(())
        }
    }
    let mut capped = Capped(String::new());
    // The only error is ours: enough was written.
    let _ = write!(capped, "{message}");
    capped.0
}

/// A number of bytes as people write it: `4 MiB`.
pub(super) struct Size(pub(super) usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes != 0 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes != 0 && bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}
