//! Emptied buffers wait here for the next message of the same thread, so that a steady load allocates none.

use std::cell::RefCell;

/// How many wait in one thread: for every call in flight between two busy ends there are two.
const KEPT: usize = 512;
/// Bytes of all that wait in one thread.
const KEPT_BYTES: usize = 2 << 20;
/// Larger ones go back to the allocator.
const LARGEST: usize = 64 << 10;
/// What a new one begins with.
const FIRST: usize = 256;

struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

thread_local!(static KEPT_HERE: RefCell<Kept> = const { RefCell::new(Kept { buffers: Vec::new(), bytes: 0 }) });

/// An empty buffer, used before if there is one. Whoever takes one may take another before giving it back.
pub(crate) fn buffer() -> Vec<u8> {
    // While the thread ends there are no thread-locals, but user code that encodes may still run.
    let kept = KEPT_HERE.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        let buffer = kept.buffers.pop()?;
        kept.bytes -= buffer.capacity();
        Some(buffer)
    });
    kept.ok().flatten().unwrap_or_else(|| Vec::with_capacity(FIRST))
}

/// Gives a buffer back; what it holds is forgotten.
pub(crate) fn recycle(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > LARGEST {
        return;
    }
    buffer.clear();
    // When it cannot be kept it is dropped: after the borrow, or with the closure.
    let _ = KEPT_HERE.try_with(move |kept| {
        let mut kept = kept.borrow_mut();
        if kept.buffers.len() < KEPT && kept.bytes + buffer.capacity() <= KEPT_BYTES {
            kept.bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    });
}
