//! Short strings, seen to be UTF-8 in words.
//!
//! Why copy them? The standard library looks at two words at a time, but only where they are aligned
//! and whole: before and behind that it goes byte by byte, which is all of a short string. Zeros behind
//! a string change nothing about whether it is one, and make whole words of it.

/// What the standard library looks at in one step.
const STEP: usize = 16;
/// Keeps as many bytes of what is laid under it as it is laid before its middle.
const MASK: [u8; 2 * Short::BYTES_MAX] = {
    let mut mask = [0; 2 * Short::BYTES_MAX];
    let mut index = 0;
    while index < Short::BYTES_MAX {
        mask[index] = 0xff;
        index += 1;
    }
    mask
};

/// A short string with whatever is behind it.
pub(super) type Ahead = [u8; Short::BYTES_MAX];

/// A copy of a short string, with zeros behind it.
#[repr(align(16))]
pub(super) struct Short {
    bytes: [u8; Self::BYTES_MAX],
    length: usize,
}

impl Short {
    /// Of a longer one, most is whole words wherever it lies.
    pub(super) const BYTES_MAX: usize = 2 * STEP;

    /// Copies the string that begins here and has this length, [`BYTES_MAX`](Self::BYTES_MAX) at most.
    #[inline]
    pub(super) fn copy(ahead: &Ahead, length: usize) -> Self {
        debug_assert!(
            length <= Self::BYTES_MAX,
            "a longer one is looked at where it lies"
        );
        let mask = &MASK[Self::BYTES_MAX - length..][..Self::BYTES_MAX];
        let mut bytes = *ahead;
        for (byte, mask) in bytes.iter_mut().zip(mask) {
            *byte &= mask;
        }
        Self { bytes, length }
    }

    /// The string, if it is one.
    #[inline]
    pub(super) fn text(&self) -> Option<&str> {
        let whole = if self.length > STEP { 2 * STEP } else { STEP };
        let text = std::str::from_utf8(&self.bytes[..whole]).ok()?;
        text.get(..self.length)
    }
}
