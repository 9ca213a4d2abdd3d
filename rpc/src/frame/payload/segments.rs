//! Large parts of a message, which leave from where they are and are not copied into its buffer.
//!
//! `encode.rs` sets them aside, `shared.rs` says which may be, `connection/chunked.rs` sends what comes of it.

use std::collections::VecDeque;

use bytes::Bytes;

/// What was set aside while a message was encoded.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// In order; each belongs before this byte of what was encoded.
    list: Vec<(usize, Bytes)>,
    length: usize,
}

impl Segments {
    /// `at` is how much of the message stands in its buffer.
    pub(super) fn push(&mut self, at: usize, segment: Bytes) {
        self.length += segment.len();
        self.list.push((at, segment));
    }

    /// Bytes of all of them.
    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

/// A message in one piece, or in several.
#[derive(Debug)]
pub(crate) struct Rope {
    /// Empty only when nothing follows.
    first: Bytes,
    rest: VecDeque<Bytes>,
    length: usize,
    /// Some of it is a user's: dropping that may be user code.
    shared: bool,
}

impl Rope {
    /// What was encoded, with the segments between.
    pub(crate) fn new(encoded: Bytes, segments: Option<Box<Segments>>) -> Self {
        let Some(segments) = segments else {
            return Self { length: encoded.len(), first: encoded, rest: VecDeque::new(), shared: false };
        };
        let length = encoded.len() + segments.length;
        let mut pieces = VecDeque::with_capacity(2 * segments.list.len() + 1);
        let mut at = 0;
        for (before, segment) in segments.list {
            pieces.extend([encoded.slice(at..before), segment]);
            at = before;
        }
        pieces.push_back(encoded.slice(at..));
        pieces.retain(|piece| !piece.is_empty());
        Self { first: pieces.pop_front().unwrap_or_default(), rest: pieces, length, shared: true }
    }

    /// Bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// See the field.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Takes up to so many bytes off its beginning: as many as stand together.
    pub(crate) fn take(&mut self, most: usize) -> Bytes {
        let part = self.first.split_to(self.first.len().min(most));
        self.length -= part.len();
        if self.first.is_empty()
            && let Some(next) = self.rest.pop_front()
        {
            self.first = next;
        }
        part
    }

    /// What is left of it.
    pub(crate) fn into_parts(self) -> impl Iterator<Item = Bytes> {
        std::iter::once(self.first).chain(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters of a message in two segments and what is around them, taken so many at a time.
    fn taken(encoded: &'static str, segments: &[(usize, &'static str)], most: usize) -> String {
        let mut set_aside = Segments::default();
        for (at, segment) in segments {
            set_aside.push(*at, Bytes::from_static(segment.as_bytes()));
        }
        let whole = encoded.len() + set_aside.len();
        let mut rope = Rope::new(Bytes::from_static(encoded.as_bytes()), Some(Box::new(set_aside)));
        let mut text = String::new();
        while !rope.is_empty() {
            assert_eq!(rope.len() + text.len(), whole);
            let part = rope.take(most);
            assert!(!part.is_empty() && part.len() <= most);
            text.push_str(std::str::from_utf8(&part).unwrap_or("?"));
        }
        assert!(rope.take(1).is_empty());
        text
    }

    #[test]
    fn a_message_is_the_same_in_one_piece_and_in_several() {
        for most in 1..12 {
            assert_eq!(taken("abcdef", &[(2, "SEGMENT"), (5, "LAST")], most), "abSEGMENTcdeLASTf");
            assert_eq!(taken("ab", &[(0, "FIRST"), (2, "X"), (2, "Y")], most), "FIRSTabXY");
            assert_eq!(taken("", &[(0, "ALL")], most), "ALL");
        }
        let mut whole = Rope::new(Bytes::from_static(b"whole"), None);
        assert_eq!((whole.take(2), whole.len(), whole.take(9)), (Bytes::from_static(b"wh"), 3, Bytes::from_static(b"ole")));
        assert!(whole.is_empty() && !whole.is_shared());
    }
}
