//! Bytes that are shared instead of copied: the public type, how it comes by a part of the message that it is read from, and how it
//! becomes a part of the one that it is written to.
//!
//! serde hands bytes over as slices, which do not tell whose they are. So while a long message is decoded its buffer is lent
//! here, by thread, and a slice is found by where it lies. While a large value is written it is offered here, and who is handed that
//! very slice may keep it (`segments.rs`). Neither can give anyone other bytes than those it was handed.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

use serde::de::{self, SeqAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::buffers::LARGEST;
use crate::server::handler::drop_quietly;

/// Shorter ones are copied: that costs less than to keep count, and they would keep a whole message in memory.
const PART: usize = 4 << 10;

/// Bytes that are not copied: large ones travel from where they are, and arrive where they were read.
///
/// In a contract they are what `&[u8]`, `serde_bytes` and [`bytes::Bytes`] are: the same bytes travel, the schema is the same, and
/// JSON is base64. Either end may have one where the other has another. A clone shares the memory.
///
/// What was received shares the memory of its message, if it has 4 KiB or more and the message more than 64 KiB. A small part of a
/// large message that is kept keeps all of it: [`Bytes::copied`] gives one that does not.
///
/// ```
/// use rpc::Bytes;
///
/// #[rpc::service]
/// trait Store {
///     async fn load(&self, name: &str) -> Option<Bytes>;
/// }
///
/// struct Shelf(Bytes);
///
/// impl Store for Shelf {
///     async fn load(&self, _: &str) -> Option<Bytes> {
///         Some(self.0.clone())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), rpc::Error> {
/// let store = StoreClient::local(Shelf(Bytes::from(vec![7; 1 << 20])));
/// let picture = store.load("picture").await?.unwrap_or_default();
/// assert_eq!(picture.len(), 1 << 20);
/// # Ok(()) }
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(bytes::Bytes);

impl Bytes {
    /// Bytes that live as long as the program.
    #[must_use]
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self(bytes::Bytes::from_static(bytes))
    }

    /// A copy, in memory of its own.
    #[must_use]
    pub fn copied(bytes: &[u8]) -> Self {
        Self(bytes::Bytes::copy_from_slice(bytes))
    }

    /// What was read: the part of a lent message that it is, or a copy.
    fn read(bytes: &[u8]) -> Self {
        let part = if bytes.len() < PART { None } else { part_of_lent(bytes) };
        part.map_or_else(|| Self::copied(bytes), Self)
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<bytes::Bytes> for Bytes {
    fn from(bytes: bytes::Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Bytes> for bytes::Bytes {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&'static [u8]> for Bytes {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from_static(bytes)
    }
}

impl<const N: usize> From<&'static [u8; N]> for Bytes {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::from_static(bytes)
    }
}

impl From<&'static str> for Bytes {
    fn from(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

impl PartialEq<[u8]> for Bytes {
    fn eq(&self, other: &[u8]) -> bool {
        self.0 == other
    }
}

impl PartialEq<&[u8]> for Bytes {
    fn eq(&self, other: &&[u8]) -> bool {
        self.0 == *other
    }
}

impl PartialEq<Vec<u8>> for Bytes {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self.0 == other[..]
    }
}

/// Their beginning, and how many there are.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 32;
        write!(f, "b\"{}\"", self[..self.len().min(SHOWN)].escape_ascii())?;
        if self.len() > SHOWN { write!(f, ".. ({} bytes)", self.len()) } else { Ok(()) }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Dropped when they are written.
        let _offer = (self.len() > LARGEST).then(|| offer(&self.0));
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::read(bytes))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(bytes.into())
            }
            fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes::read(text.as_bytes()))
            }
            fn visit_string<E>(self, text: String) -> Result<Bytes, E> {
                Ok(text.into())
            }
            /// JSON may write bytes as an array of numbers.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bytes, A::Error> {
                // No more than a page on the word of whoever declared it.
                let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(4 << 10));
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

// Decoding may nest: a type's `Deserialize` may do anything. The last one is the innermost.
thread_local!(static LENT: RefCell<Vec<bytes::Bytes>> = const { RefCell::new(Vec::new()) });

/// A message whose buffer is lent to what is decoded from it on this thread, until this is dropped.
pub(crate) struct Lending {
    bytes: bytes::Bytes,
    /// False while the thread ends: then there are no thread-locals.
    listed: bool,
}

/// Boxed: it stands where most calls have none.
#[cold]
#[inline(never)]
pub(crate) fn lend(bytes: bytes::Bytes) -> Box<Lending> {
    let listed = LENT.try_with(|lent| lent.borrow_mut().push(bytes.clone())).is_ok();
    Box::new(Lending { bytes, listed })
}

impl Deref for Lending {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lending {
    fn drop(&mut self) {
        if self.listed {
            // Dropped without the borrow.
            let last = LENT.try_with(|lent| lent.borrow_mut().pop());
            drop(last);
        }
    }
}

/// The same bytes as a part of the lent message that they lie in, if they do.
fn part_of_lent(bytes: &[u8]) -> Option<bytes::Bytes> {
    let wanted = bytes.as_ptr_range();
    let find = |lent: &RefCell<Vec<bytes::Bytes>>| {
        let lent = lent.borrow();
        let holds = |message: &&bytes::Bytes| {
            let there = message.as_ptr_range();
            there.start <= wanted.start && wanted.end <= there.end
        };
        lent.iter().rev().find(holds).map(|message| message.slice_ref(bytes))
    };
    LENT.try_with(find).ok().flatten()
}

thread_local!(static OFFERED: RefCell<Option<bytes::Bytes>> = const { RefCell::new(None) });

/// A large value that is being written on this thread; the one that was before, which is being written around it, comes back.
struct Offer {
    before: Option<bytes::Bytes>,
}

#[cold]
fn offer(bytes: &bytes::Bytes) -> Offer {
    // While the thread ends there are no thread-locals: then it is copied.
    let before = OFFERED.try_with(|offered| offered.borrow_mut().replace(bytes.clone()));
    Offer { before: before.ok().flatten() }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let before = self.before.take();
        // Dropped without the borrow.
        let offered = OFFERED.try_with(|offered| std::mem::replace(&mut *offered.borrow_mut(), before));
        drop(offered);
    }
}

/// These bytes without a copy, if they are what is being offered. Whoever drops them last need not fear how their owner takes it.
pub(super) fn offered(bytes: &[u8]) -> Option<bytes::Bytes> {
    struct Quiet(bytes::Bytes);
    impl AsRef<[u8]> for Quiet {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Quiet {
        fn drop(&mut self) {
            drop_quietly(std::mem::take(&mut self.0));
        }
    }
    let offered = OFFERED.try_with(|offered| offered.borrow().clone()).ok().flatten()?;
    (offered.as_ptr_range() == bytes.as_ptr_range()).then(|| bytes::Bytes::from_owner(Quiet(offered)))
}
