//! stub
use serde::Deserialize;

use super::node::{Id, Signature};
use super::peer::Peer;
use crate::frame::payload::{Budget, Fault};

pub(crate) fn value<'de, T: Deserialize<'de>>(_peer: &'de Peer, _root: Id, _bytes: &'de [u8], _budget: Budget) -> Result<T, Fault> {
    Err(Fault::malformed("stub"))
}

pub(crate) fn arguments<'de, A: Deserialize<'de>>(
    _peer: &'de Peer,
    _signature: &'de Signature,
    _names: &'static [&'static str],
    _bytes: &'de [u8],
    _budget: Budget,
) -> Result<A, Fault> {
    Err(Fault::malformed("stub"))
}
