//! Buffers wait for their next use, few and small.

use super::*;

#[test]
fn a_recycled_buffer_comes_back_empty() {
    let mut first = buffer();
    first.extend_from_slice(b"used");
    let pointer = first.as_ptr();
    recycle(first);
    let again = buffer();
    assert_eq!((again.as_ptr(), again.len()), (pointer, 0));
}

#[test]
fn one_may_be_taken_while_another_is_in_use() {
    let (mut outer, mut inner) = (buffer(), buffer());
    outer.push(1);
    inner.push(2);
    recycle(inner);
    assert_eq!(outer, [1]);
    recycle(outer);
}

#[test]
fn few_and_small_ones_are_kept() {
    recycle(Vec::new());
    recycle(Vec::with_capacity((64 << 10) + 1));
    for capacity in 1..=600 {
        recycle(Vec::with_capacity(1000 + capacity));
    }
    let kept: Vec<_> = (0..513).map(|_| buffer().capacity()).collect();
    assert!(kept[..512].iter().all(|capacity| (1001..=1600).contains(capacity)), "{kept:?}");
    assert_eq!(kept[512], 256);
    // No more than 2 MiB together.
    for _ in 0..100 {
        recycle(Vec::with_capacity(64 << 10));
    }
    let kept: Vec<_> = (0..33).map(|_| buffer().capacity()).collect();
    assert_eq!(kept[31..], [64 << 10, 256]);
}

#[test]
fn they_may_be_used_while_a_thread_ends() {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            let mut late = buffer();
            late.push(1);
            recycle(late);
        }
    }
    thread_local!(static LATE: Late = const { Late });
    let thread = std::thread::spawn(|| {
        LATE.with(|_| ());
        recycle(buffer());
    });
    thread.join().expect("no panic");
}
