//! Memory of what is long and came in parts, messages, frames, and rows of items that wait for their
//! consumer, for those that come after them.
//!
//! Why not leave that to the allocator? Many give what is large back to the system as soon as it is
//! free, and take it anew for the next message: a page fault for each 4 KiB, which costs more than
//! everything else that is done with a message of 1 MiB.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// What a thread keeps at the most, in bytes and in messages or rows.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
const KEPT_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare::new()) };
}

/// The memory of the last messages of a thread. It is used again once nobody has any of the message.
struct Spare {
    /// The oldest first.
    kept: Vec<Kept>,
    /// The capacity of all of them.
    bytes: usize,
}

struct Kept {
    capacity: usize,
    /// What shares the memory with a message, and is behind it.
    rest: BytesMut,
}

/// Memory for a message of this length: none unless there is some to spare that is neither too small
/// nor much too large for it.
pub fn take(length: usize) -> BytesMut {
    SPARE.with_borrow_mut(|spare| spare.take(length))
}

/// The message; its memory is kept for another.
pub fn keep(mut message: BytesMut) -> Bytes {
    let capacity = message.capacity();
    let whole = message.split().freeze();
    if capacity <= KEPT_BYTES_MAX {
        let rest = message;
        SPARE.with_borrow_mut(|spare| spare.keep(Kept { capacity, rest }));
    }
    whole
}

impl Spare {
    const fn new() -> Self {
        Self {
            kept: Vec::new(),
            bytes: 0,
        }
    }

    fn take(&mut self, length: usize) -> BytesMut {
        // The last first: it is the most likely to be in the cache of the processor.
        for at in (0..self.kept.len()).rev() {
            let kept = &mut self.kept[at];
            let fits = (length..=2 * length).contains(&kept.capacity);
            if fits && kept.rest.try_reclaim(length) {
                self.bytes -= kept.capacity;
                return self.kept.remove(at).rest;
            }
        }
        BytesMut::new()
    }

    fn keep(&mut self, kept: Kept) {
        self.bytes += kept.capacity;
        self.kept.push(kept);
        while self.bytes > KEPT_BYTES_MAX || self.kept.len() > KEPT_MAX {
            self.bytes -= self.kept.remove(0).capacity;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of this length, and where its memory begins.
    fn message(length: usize) -> (Bytes, *const u8) {
        let mut bytes = take(length);
        bytes.resize(length, 7);
        let start = bytes.as_ptr();
        (keep(bytes), start)
    }

    #[test]
    fn the_memory_of_a_message_is_used_again_once_nobody_has_it() {
        let (first, at) = message(100_000);
        let (second, elsewhere) = message(100_000);
        assert_ne!(at, elsewhere, "somebody has the first");
        let part = first.slice(99_000..);
        drop(first);
        let (third, elsewhere) = message(100_000);
        assert_ne!(at, elsewhere, "somebody has a part of it");
        assert_eq!(part, [7; 1000][..]);
        drop(part);
        assert_eq!(message(100_000).1, at);
        drop((second, third));
    }

    #[test]
    fn a_short_message_does_not_hold_the_memory_of_a_long_one() {
        let (_, long) = message(1 << 20);
        for length in [100, 16 << 10, 500 << 10] {
            let (short, start) = message(length);
            assert_ne!(start, long);
            drop(short);
        }
        assert_eq!(message(1_000_000).1, long);
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let held = || SPARE.with_borrow(|spare| (spare.kept.len(), spare.bytes));
        for length in [1000, 1 << 20, KEPT_BYTES_MAX + 1] {
            let messages: Vec<_> = (0..100).map(|_| message(length)).collect();
            drop(messages);
            let (count, bytes) = held();
            assert!(count <= KEPT_MAX && bytes <= KEPT_BYTES_MAX);
            SPARE.with_borrow(|spare| {
                let capacities = spare.kept.iter().map(|kept| kept.capacity);
                assert_eq!(capacities.sum::<usize>(), bytes);
            });
        }
        assert!(held().0 > 1);
    }
}
