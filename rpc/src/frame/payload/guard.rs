//! What decoding one message may cost: memory, elements without size, and depth. Accounts only; it reads no bytes.
//!
//! Neighbours: `decode.rs` (postcard), `json.rs` and `schema/` ask it before every container and every element.
//!
//! Bytes are charged as the decoded value will take them from the heap:
//! - strings and byte strings are no longer than the message together, so the message's length is charged once;
//! - the elements of a collection are charged in the steps in which the collection grows: first what serde reserves for
//!   the declared length, then as much again each time that is used up;
//! - a value that does not fit into the value it is a part of (its *room*) must stand behind a pointer, so it is charged too.
//!   A value as large as the enum around it is taken to be boxed: every recursive type passes such a place.
//!
//! The account is an estimate from above, with one gap: what a type first buffers in serde's private `Content`
//! (`#[serde(untagged)]` and the like, JSON only) is charged as the buffer and not again when it leaves it.

use std::any::type_name;

/// How much one message may take once decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Heap bytes: `Limits::max_decoded`.
    pub(crate) bytes: usize,
    /// Containers in containers: `Limits::max_depth`.
    pub(crate) depth: usize,
}

impl Budget {
    /// Deep enough for people's data; shallow enough for a 2 MiB stack in a debug build.
    pub(crate) const DEPTH: usize = 128;
    /// Heap bytes for each byte that a message may have.
    pub(crate) const BYTES_PER_BYTE: usize = 16;

    /// The defaults, given `Limits::max_message`.
    pub(crate) const fn of(max_message: usize) -> Self {
        Self { bytes: max_message.saturating_mul(Self::BYTES_PER_BYTE), depth: Self::DEPTH }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(4 << 20)
    }
}

/// Elements without size that one message may hold: they cost no memory and no bytes, only time.
pub(crate) const EMPTY_ELEMENTS: usize = 1 << 20;
/// serde reserves no more than this for a declared length.
const RESERVED: usize = 1 << 20;

/// What a list begins with that nothing was reserved for.
const FIRST: usize = 4;

/// Which account is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Bytes,
    EmptyElements,
    Depth,
}

/// What is left of a message's budget.
#[derive(Debug)]
pub(crate) struct Guard {
    bytes: usize,
    empty: usize,
    depth: usize,
    /// What is left of the memory of the value around, already paid for.
    room: usize,
}

impl Guard {
    /// For a value of this size, about to be read from a message of this length.
    pub(crate) fn new(budget: Budget, length: usize, size: usize) -> Result<Self, Refusal> {
        let bytes = budget.bytes.checked_sub(length).ok_or(Refusal::Bytes)?;
        Ok(Self { bytes, empty: EMPTY_ELEMENTS, depth: budget.depth, room: size })
    }

    /// Heap bytes left.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// This many elements take no bytes of the message, or no memory.
    pub(crate) fn empty_elements(&mut self, count: usize) -> Result<(), Refusal> {
        self.empty = self.empty.checked_sub(count).ok_or(Refusal::EmptyElements)?;
        Ok(())
    }

    /// Takes this much of the heap.
    #[inline]
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Refusal> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(Refusal::Bytes),
        }
    }

    /// The next part of the value around has this size.
    #[inline]
    pub(crate) fn take(&mut self, size: usize) -> Result<(), Refusal> {
        match self.room.checked_sub(size) {
            Some(left) => {
                self.room = left;
                Ok(())
            }
            None => self.charge(size),
        }
    }

    /// Begins a container of this size, whose parts find `room` in it. Gives back what [`leave`](Self::leave) needs.
    #[inline]
    pub(crate) fn enter(&mut self, size: usize, room: usize) -> Result<usize, Refusal> {
        if self.depth == 0 {
            return Err(Refusal::Depth);
        }
        self.take(size)?;
        self.depth -= 1;
        Ok(std::mem::replace(&mut self.room, room))
    }

    /// Ends the container that was begun last.
    #[inline]
    pub(crate) fn leave(&mut self, outside: usize) {
        self.depth += 1;
        self.room = outside;
    }

    /// An element or a field of this size is paid for; the next value is it.
    #[inline]
    pub(crate) fn paid(&mut self, size: usize) {
        self.room = size;
    }
}

/// How a collection takes memory.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// The smallest number of elements it has memory for.
    least: u8,
    /// Memory per element used, in quarters.
    quarters: u8,
    /// Bytes beside each element.
    extra: u8,
    /// It may grow by doubling whatever length was declared.
    doubles: bool,
}

impl Shape {
    const LIST: Self = Self { least: 1, quarters: 4, extra: 0, doubles: false };
    /// A list of another's making, such as the one in `serde_json::Value`.
    const OTHER: Self = Self { doubles: true, ..Self::LIST };
    /// Nodes of eleven that may be half empty.
    const TREE: Self = Self { least: 11, quarters: 10, extra: 2, doubles: false };
    /// A power of two, at most seven eighths full.
    const HASH: Self = Self { least: 4, quarters: 10, extra: 5, doubles: false };
    const LINKED: Self = Self { least: 1, quarters: 4, extra: 16, doubles: false };

    /// Only the type's name tells `BTreeSet` from `Vec`. Names may change: then the estimate is a worse one, no more.
    #[inline]
    fn of(name: &str, other: Self) -> Self {
        if name.starts_with("alloc::vec::Vec<") || name.starts_with("alloc::collections::vec_deque::") {
            Self::LIST
        } else if name.starts_with("alloc::collections::btree::") {
            Self::TREE
        } else if name.starts_with("std::collections::hash::") {
            Self::HASH
        } else if name.starts_with("alloc::collections::linked_list::") {
            Self::LINKED
        } else {
            other
        }
    }
}

/// The elements of one collection, paid for in the steps in which it grows.
#[derive(Debug)]
pub(crate) struct Account {
    shape: Shape,
    used: usize,
    paid: usize,
}

impl Account {
    /// Of something read as a sequence.
    #[inline]
    pub(crate) fn sequence<Collection>() -> Self {
        Self::sequence_named(type_name::<Collection>())
    }

    /// The same, where only the name of the collection's type is known.
    #[inline]
    pub(crate) fn sequence_named(name: &str) -> Self {
        Self { shape: Shape::of(name, Shape::OTHER), used: 0, paid: 0 }
    }

    /// Of the keys, or the values, of something read as a map.
    #[inline]
    pub(crate) fn map<Collection>() -> Self {
        Self::map_named(type_name::<Collection>())
    }

    /// The same, where only the name of the collection's type is known.
    #[inline]
    pub(crate) fn map_named(name: &str) -> Self {
        Self { shape: Shape::of(name, Shape::TREE), used: 0, paid: 0 }
    }

    /// No element has been paid for yet.
    #[inline]
    pub(crate) fn is_new(&self) -> bool {
        self.paid == 0
    }

    /// One more element of this size; `left` are still to come, this one included, if that is known.
    #[inline]
    pub(crate) fn element(&mut self, guard: &mut Guard, size: usize, left: Option<usize>) -> Result<(), Refusal> {
        if self.used == self.paid {
            self.grow(guard, size, left)?;
        }
        self.used += 1;
        guard.paid(size);
        Ok(())
    }

    /// The same, if there is memory for it already. Else nothing has been done.
    #[inline]
    pub(crate) fn element_in_place(&mut self, guard: &mut Guard, size: usize) -> bool {
        if self.used == self.paid {
            return false;
        }
        self.used += 1;
        guard.paid(size);
        true
    }

    /// As many more elements as there is memory for already, of those that are still to come. The guard is told of each by its reader.
    pub(crate) fn elements_in_place(&mut self, left: usize) -> usize {
        let more = left.min(self.paid - self.used);
        self.used += more;
        more
    }

    fn grow(&mut self, guard: &mut Guard, size: usize, left: Option<usize>) -> Result<(), Refusal> {
        if size == 0 {
            let count = left.unwrap_or(1);
            guard.empty_elements(count)?;
            self.paid = self.paid.saturating_add(count);
            return Ok(());
        }
        let more = match (self.paid, left) {
            (0, Some(left)) => match left.min(RESERVED / size) {
                reserved if self.shape.doubles => reserved.next_power_of_two().max(FIRST),
                reserved => reserved.max(1),
            },
            (0, None) => FIRST,
            (paid, _) => paid,
        };
        let least = if self.paid == 0 { self.shape.least.into() } else { 0 };
        let memory = more.max(least).saturating_mul(size.saturating_add(self.shape.extra.into()));
        guard.charge(memory.saturating_mul(self.shape.quarters.into()) / 4)?;
        self.paid += more;
        Ok(())
    }
}
