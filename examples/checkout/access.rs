//! Who may call: API keys, asked for by the server's hook before any argument is decoded.
//!
//! Keys are kept as hashes and compared as hashes: neither a log nor a clock tells anything about them.

use std::collections::HashSet;
use std::env::VarError;
use std::fmt;
use std::path::Path;

use rpc::{Call, CallInfo, Error, ErrorKind};

use crate::card::Secret;
use crate::vault::hash;

/// The metadata that carries a caller's key.
const METADATA: &str = "api-key";

/// The keys that a server takes.
#[derive(Default)]
pub struct ApiKeys {
    hashes: HashSet<String>,
}

impl ApiKeys {
    /// From a file, one key a line, or from `CHECKOUT_API_KEYS`, with commas; `None` if neither is there: then all may call.
    ///
    /// # Errors
    /// When the file or the variable cannot be read, or when there is no key in it.
    pub fn load(file: Option<&Path>) -> Result<Option<Self>, String> {
        let (text, from) = match (file, std::env::var("CHECKOUT_API_KEYS")) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                (text, path.display().to_string())
            }
            (None, Ok(text)) => (text, "CHECKOUT_API_KEYS".to_owned()),
            (None, Err(VarError::NotPresent)) => return Ok(None),
            // Not the same as none. The error's own text would hold the keys.
            (None, Err(VarError::NotUnicode(_))) => return Err("CHECKOUT_API_KEYS: it is not UTF-8".to_owned()),
        };
        let keys = text.split([',', '\n', '\r']).map(str::trim).filter(|key| !key.is_empty());
        let hashes: HashSet<String> = keys.map(|key| hash(&[key])).collect();
        // An empty list would let nobody in, or, if it were taken for none, everybody.
        if hashes.is_empty() { Err(format!("{from}: there is no key in it")) } else { Ok(Some(Self { hashes })) }
    }

    /// # Errors
    /// `Unauthenticated`, when the call has no key or a wrong one.
    pub fn check(&self, call: &CallInfo) -> Result<(), Error> {
        match call.metadata.get(METADATA) {
            Some(key) if self.hashes.contains(&hash(&[key])) => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::Unauthenticated, format!("{}: the API key is not known", call.method))),
            None => Err(Error::new(ErrorKind::Unauthenticated, format!("{}: an API key is needed", call.method))),
        }
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} API keys", self.hashes.len())
    }
}

/// The key that a client calls with, if it has one.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    key: Option<Secret<String>>,
}

impl Caller {
    /// From `CHECKOUT_API_KEY`.
    pub fn from_environment() -> Self {
        Self { key: std::env::var("CHECKOUT_API_KEY").ok().filter(|key| !key.is_empty()).map(Secret::new) }
    }

    /// The call, with the key.
    pub fn sign<'c, O>(&self, call: Call<'c, O>) -> Call<'c, O> {
        match &self.key {
            Some(key) => call.metadata(METADATA, key.reveal().as_str()),
            None => call,
        }
    }
}
