//! Byte strings that are not copied: those that arrive share the memory of their message, those that
//! leave are sent from where they are.

use std::any::TypeId;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use bytes::Bytes;
use serde_core::{Serialize, Serializer};

use crate::wire::Parts;

/// Shorter ones that arrive are copied: they would keep a whole message alive.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// The same of one that is the half of its message: metadata apart, which have a limit of their own, it
/// keeps a quarter of the memory busy at least.
const SHARED_HALF_BYTES_MIN: usize = 2 * 1024;

/// Shorter ones that leave are copied: they share a write with what else there is, which is worth more.
const LEFT_OUT_BYTES_MIN: usize = 32 * 1024;

/// What may be left out of what is encoded on this thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Out {
    Nothing,
    /// Byte strings, of which there was none.
    Strings,
    /// There was at least one.
    Met,
}

thread_local! {
    /// The message that is being decoded on this thread.
    static MESSAGE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
    static OUT: Cell<Out> = const { Cell::new(Out::Nothing) };
    /// The byte string that is being encoded.
    static CANDIDATE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
    static LEFT_OUT: RefCell<Parts> = const { RefCell::new(Parts::new()) };
}

/// Decodes something out of `message`: a [`Bytes`] in it is a part of the message and no copy if it has
/// 16 KiB or more, or 2 KiB and half of the message.
#[inline]
pub fn sharing<R>(message: &Bytes, decode: impl FnOnce() -> R) -> R {
    if message.len() < SHARED_HALF_BYTES_MIN {
        return decode();
    }
    let _sharing = Sharing(MESSAGE.replace(Some(message.clone())));
    decode()
}

/// True if a value in these bytes may be a part of its message and no copy.
#[inline]
pub(super) const fn is_shared(part: &[u8]) -> bool {
    part.len() >= SHARED_BYTES_MIN
}

/// Puts back what was shared before, also if decoding panics.
struct Sharing(Option<Bytes>);

impl Drop for Sharing {
    fn drop(&mut self) {
        MESSAGE.set(self.0.take());
    }
}

/// These bytes as a value of their own.
#[inline]
pub(super) fn to_bytes(slice: &[u8]) -> Bytes {
    if slice.len() < SHARED_HALF_BYTES_MIN {
        return Bytes::copy_from_slice(slice);
    }
    to_part(slice)
}

#[inline(never)]
fn to_part(slice: &[u8]) -> Bytes {
    MESSAGE.with_borrow(|message| match message {
        Some(message) if is_worth_sharing(message, slice) && contains(message, slice) => {
            message.slice_ref(slice)
        }
        _ => Bytes::copy_from_slice(slice),
    })
}

const fn is_worth_sharing(message: &[u8], slice: &[u8]) -> bool {
    slice.len() >= SHARED_BYTES_MIN || slice.len() >= message.len() / 2
}

fn contains(message: &[u8], slice: &[u8]) -> bool {
    let (message, slice) = (message.as_ptr_range(), slice.as_ptr_range());
    message.start <= slice.start && slice.end <= message.end
}

/// Encodes something, and leaves each [`Bytes`] of 32 KiB or more that is an argument, a reply or an
/// item out of it: they are given beside.
#[inline]
pub fn leaving_out<R>(encode: impl FnOnce() -> R) -> (R, Parts) {
    let _leaving = Leaving(OUT.replace(Out::Strings));
    let result = encode();
    let parts = match OUT.get() {
        Out::Met => take_left_out(),
        Out::Nothing | Out::Strings => Parts::new(),
    };
    (result, parts)
}

#[cold]
fn take_left_out() -> Parts {
    LEFT_OUT.take()
}

/// True if something can be left out of such a value.
#[inline]
pub(super) fn can_leave_out<T: 'static>() -> bool {
    let is = |other| TypeId::of::<T>() == other;
    is(TypeId::of::<Bytes>()) || is(TypeId::of::<Cow<'static, Bytes>>())
}

/// Puts back what could be left out before, also if encoding panics.
struct Leaving(Out);

impl Drop for Leaving {
    #[inline]
    fn drop(&mut self) {
        if OUT.replace(self.0) == Out::Met {
            forget_left_out();
        }
    }
}

#[cold]
fn forget_left_out() {
    CANDIDATE.set(None);
    LEFT_OUT.set(Parts::new());
}

/// A [`Bytes`] on its way out.
#[expect(clippy::exhaustive_structs, reason = "generated code constructs it")]
#[derive(Clone, Copy, Debug)]
pub struct SharedString<'a>(pub &'a Bytes);

impl Serialize for SharedString<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "to call it costs as much as it does")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() >= LEFT_OUT_BYTES_MIN {
            offer(self.0);
        }
        serializer.serialize_bytes(self.0)
    }
}

/// Lets what encodes this leave it out.
#[cold]
fn offer(bytes: &Bytes) {
    if OUT.get() != Out::Nothing {
        OUT.set(Out::Met);
        CANDIDATE.set(Some(bytes.clone()));
    }
}

/// A codec is about to write these bytes behind `at` others; true if it need not.
#[inline]
pub(super) fn leave_out(bytes: &[u8], at: usize) -> bool {
    bytes.len() >= LEFT_OUT_BYTES_MIN && OUT.get() == Out::Met && leave_candidate_out(bytes, at)
}

#[cold]
fn leave_candidate_out(bytes: &[u8], at: usize) -> bool {
    CANDIDATE.with_borrow(|candidate| {
        let Some(candidate) = candidate else {
            return false;
        };
        let is_same = candidate.as_ptr_range() == bytes.as_ptr_range();
        if is_same {
            LEFT_OUT.with_borrow_mut(|parts| parts.push(at, candidate.clone()));
        }
        is_same
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_leaves_nothing_of_its_message_to_the_next() {
        let bytes = Bytes::from(vec![7; LEFT_OUT_BYTES_MIN]);
        let panicked = std::panic::catch_unwind(|| {
            leaving_out(|| {
                OUT.set(Out::Met);
                CANDIDATE.set(Some(bytes.clone()));
                assert!(leave_out(&bytes, 0));
                panic!("a Serialize of the user's");
            })
        });
        assert!(panicked.is_err());
        assert!(!leave_out(&bytes, 0), "nothing is being encoded");
        let (left_out, parts) = leaving_out(|| leave_out(&bytes, 0));
        assert!(!left_out && parts.is_empty());
        assert!(LEFT_OUT.take().is_empty());
    }

    #[test]
    fn what_is_the_half_of_a_message_is_a_part_of_it() {
        let is_part = |length, of| {
            let message = Bytes::from(vec![7; of]);
            let part = sharing(&message, || to_bytes(&message[of - length..]));
            assert_eq!(part, &message[..length]);
            contains(&message, &part)
        };
        assert!(is_part(2048, 2048) && is_part(2048, 4096) && !is_part(2048, 4099));
        assert!(!is_part(2047, 2047) && !is_part(2047, 16 * 1024));
        assert!(is_part(16 * 1024, 1 << 20) && !is_part(16 * 1024 - 1, 1 << 20));
    }
}
