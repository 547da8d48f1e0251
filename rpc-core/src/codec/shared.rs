//! Byte strings that share the memory of the message they came in.

use std::cell::RefCell;

use bytes::Bytes;

/// Shorter ones are copied: they would keep a whole message alive.
const SHARED_BYTES_MIN: usize = 16 * 1024;

thread_local! {
    /// The message that is being decoded on this thread.
    static MESSAGE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Decodes something out of `message`: a [`Bytes`] of 16 KiB or more in it is a part of the message
/// and no copy.
#[inline]
pub fn sharing<R>(message: &Bytes, decode: impl FnOnce() -> R) -> R {
    if message.len() < SHARED_BYTES_MIN {
        return decode();
    }
    let _sharing = Sharing(MESSAGE.replace(Some(message.clone())));
    decode()
}

/// Puts back what was shared before, also if decoding panics.
struct Sharing(Option<Bytes>);

impl Drop for Sharing {
    fn drop(&mut self) {
        MESSAGE.set(self.0.take());
    }
}

/// These bytes as a value of their own.
pub(super) fn to_bytes(slice: &[u8]) -> Bytes {
    if slice.len() < SHARED_BYTES_MIN {
        return Bytes::copy_from_slice(slice);
    }
    MESSAGE.with_borrow(|message| match message {
        Some(message) if contains(message, slice) => message.slice_ref(slice),
        _ => Bytes::copy_from_slice(slice),
    })
}

fn contains(message: &[u8], slice: &[u8]) -> bool {
    let (message, slice) = (message.as_ptr_range(), slice.as_ptr_range());
    message.start <= slice.start && slice.end <= message.end
}
