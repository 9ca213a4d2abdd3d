//! Why a message could not be decoded: one word wide, because it travels through every step of decoding.
//!
//! Shared by all that decode: `decode.rs`, and `schema/` where the two ends know a type differently. The texts of errors are made in
//! `mod.rs`.

use std::borrow::Cow;
use std::fmt;

use serde::de;

use super::guard::Refusal;
use super::text;

/// The error of our deserializers.
#[derive(Debug)]
pub struct Fault(Box<Problem>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A limit.
    Refused(Refusal),
    Malformed(Cow<'static, str>),
    /// A struct was given this field twice: its name, not the alias that may have been given.
    Duplicate(&'static str),
    /// A struct needs this field.
    Missing(&'static str),
}

impl Fault {
    pub(crate) fn new(problem: Problem) -> Self {
        Self(Box::new(problem))
    }

    pub(crate) fn malformed(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Problem::Malformed(text.into()))
    }

    /// Says where in the message it happened. A limit stays what it is: it holds for the message.
    #[cold]
    pub(crate) fn locate(&mut self, path: &str) {
        if !path.is_empty() && !matches!(*self.0, Problem::Refused(_)) {
            *self.0 = Problem::Malformed(text::capped(format_args!("{path}: {}", self.0)).into());
        }
    }

    #[allow(dead_code)]
    pub(crate) fn problem(&self) -> &Problem {
        &self.0
    }

    pub(crate) fn into_problem(self) -> Problem {
        *self.0
    }
}

impl From<Refusal> for Fault {
    #[cold]
    fn from(refusal: Refusal) -> Self {
        Self::new(Problem::Refused(refusal))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "{refusal:?}"),
            Self::Malformed(text) => f.write_str(text),
            Self::Duplicate(field) => write!(f, "duplicate field `{field}`"),
            Self::Missing(field) => write!(f, "missing field `{field}`"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::malformed(text::capped(message))
    }

    #[cold]
    fn duplicate_field(field: &'static str) -> Self {
        Self::new(Problem::Duplicate(field))
    }

    #[cold]
    fn missing_field(field: &'static str) -> Self {
        Self::new(Problem::Missing(field))
    }
}
