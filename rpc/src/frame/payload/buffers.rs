//! Emptied buffers wait here for the next message of the same thread, so that a steady load allocates none.

use std::cell::RefCell;

/// How many wait in one thread.
const KEPT: usize = 32;
/// Larger ones go back to the allocator.
const LARGEST: usize = 64 << 10;
/// What a new one begins with.
const FIRST: usize = 256;

thread_local!(static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) });

/// An empty buffer, used before if there is one. Whoever takes one may take another before giving it back.
pub(crate) fn buffer() -> Vec<u8> {
    // While the thread ends there are no thread-locals, but user code that encodes may still run.
    BUFFERS.try_with(|buffers| buffers.borrow_mut().pop()).ok().flatten().unwrap_or_else(|| Vec::with_capacity(FIRST))
}

/// Gives a buffer back; what it holds is forgotten.
pub(crate) fn recycle(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > LARGEST {
        return;
    }
    buffer.clear();
    // When it cannot be kept it is dropped: after the borrow, or with the closure.
    let _ = BUFFERS.try_with(move |buffers| {
        let mut buffers = buffers.borrow_mut();
        if buffers.len() < KEPT {
            buffers.push(buffer);
        }
    });
}
