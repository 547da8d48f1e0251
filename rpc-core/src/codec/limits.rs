//! Bounds what decoding may cost: depth of the stack, memory for elements.
//!
//! Why around the deserializer and not inside it? Because then one implementation holds for every
//! codec, JSON and the user's own, and the same value gets the same verdict in each. Plain values
//! pass straight through; only what can nest or repeat is wrapped. The reader of bincode asks at the
//! same places by itself: the wrapper was more than a quarter of the time it took.

#[cfg(feature = "codecs")]
mod limited;

use std::cell::Cell;

use serde_core::de::Error;

use super::CodecError;

#[cfg(feature = "codecs")]
pub(super) use limited::Limited;

/// Elements reserved for before the first one is read: 64 KiB, if an element takes 64 bytes. (The
/// collections of std themselves stop at 1 MiB, however large an element is.)
pub(super) const RESERVED_ELEMENTS_MAX: usize = 1024;
/// What a string or a collection costs beside its elements: the smallest block of the allocator, and
/// the share of a growing vector that it lies in.
const ALLOCATION_BYTES: usize = 64;
/// What an element of no size is charged: no memory, but time. 65,535 of them fit into 32 MiB.
const EMPTY_ELEMENT_BYTES: usize = 512;
/// A map is charged twice for an entry: tables grow before they are full.
pub(super) const MAP_FACTOR: usize = 2;

/// What decoding one body may cost. The default suits any peer, friendly or not.
///
/// ```
/// # use rpc_core::codec::DecodeLimits;
/// let limits = DecodeLimits::default().with_depth_max(16);
/// assert_eq!((limits.depth_max, limits.element_bytes_max), (16, 32 << 20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeLimits {
    /// Levels of nesting: each sequence, map, struct, tuple, `Some`, newtype and enum is one. 128.
    pub depth_max: u32,
    /// Memory for the elements of sequences and maps, by `size_of` the element type, and 64 bytes
    /// for each string and collection that is not empty. An element of no size counts as 512 bytes,
    /// an entry of a map twice, a `Box` as the pointer that it is. 32 MiB.
    pub element_bytes_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            depth_max: 128,
            element_bytes_max: 32 << 20,
        }
    }
}

impl DecodeLimits {
    /// What suits a message of so many bytes that was let through: the default, and for a message
    /// above 4 MiB, which somebody has allowed, 8 bytes for each of its own.
    #[inline]
    #[must_use]
    pub fn for_message(bytes: usize) -> Self {
        let limits = Self::default();
        let scaled = bytes.saturating_mul(8);
        limits.with_element_bytes_max(limits.element_bytes_max.max(scaled))
    }

    /// Sets how deep values may nest. Each level takes stack: some hundred bytes in an optimized
    /// build, some kilobytes in a debug build.
    #[must_use]
    pub fn with_depth_max(mut self, levels: u32) -> Self {
        self.depth_max = levels;
        self
    }

    /// Sets how much memory elements may take.
    #[must_use]
    pub fn with_element_bytes_max(mut self, bytes: usize) -> Self {
        self.element_bytes_max = bytes;
        self
    }
}

/// What is left while one body is decoded.
#[derive(Debug)]
pub(super) struct Budget {
    limits: DecodeLimits,
    /// Levels that are not counted: the tuple of the arguments, so that one may be as deep as a reply.
    free_levels: u32,
    /// 0 <= element_bytes_left <= limits.element_bytes_max
    element_bytes_left: Cell<usize>,
    exceeded: Cell<bool>,
}

impl Budget {
    #[inline]
    pub(super) fn new(limits: &DecodeLimits) -> Self {
        Self {
            limits: *limits,
            free_levels: 0,
            element_bytes_left: Cell::new(limits.element_bytes_max),
            exceeded: Cell::new(false),
        }
    }

    #[inline]
    pub(super) fn with_free_levels(mut self, levels: u32) -> Self {
        self.free_levels = levels;
        self
    }

    /// serde's errors are text; whether it was a limit is remembered here.
    #[cold]
    pub(super) fn explain(&self, error: CodecError) -> CodecError {
        match self.exceeded.get() {
            true => CodecError::limit(error),
            false => error,
        }
    }

    /// Levels that a value may have.
    #[inline]
    pub(super) fn depth(&self) -> u32 {
        self.limits.depth_max.saturating_add(self.free_levels)
    }

    /// A string, or a collection that says how many elements it has, or does not know.
    #[inline]
    pub(super) fn charge_allocation<E: Error>(&self, elements: Option<usize>) -> Result<(), E> {
        match elements {
            Some(0) => Ok(()),
            elements => {
                // Every element costs one byte at least.
                self.foresee(elements)?;
                self.charge(ALLOCATION_BYTES)
            }
        }
    }

    /// Charges an element, and fails at once if the `rest` that is announced cannot be paid for: a
    /// body that will be refused is not decoded to its bitter end.
    #[inline]
    pub(super) fn charge_element<V, E: Error>(
        &self,
        factor: usize,
        rest: Option<usize>,
    ) -> Result<(), E> {
        let each = match size_of::<V>() {
            0 => EMPTY_ELEMENT_BYTES,
            size => size.saturating_mul(factor),
        };
        self.charge(each)?;
        self.foresee(rest.map(|rest| rest.saturating_mul(each)))
    }

    #[inline]
    fn charge<E: Error>(&self, bytes: usize) -> Result<(), E> {
        match self.element_bytes_left.get().checked_sub(bytes) {
            Some(left) => {
                self.element_bytes_left.set(left);
                Ok(())
            }
            None => Err(self.too_large()),
        }
    }

    /// What cannot end well fails before it starts: at least so many bytes are still to be charged.
    #[inline]
    fn foresee<E: Error>(&self, bytes: Option<usize>) -> Result<(), E> {
        match bytes {
            Some(bytes) if bytes > self.element_bytes_left.get() => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    #[cold]
    fn too_large<E: Error>(&self) -> E {
        self.exceeded.set(true);
        E::custom(format_args!(
            "the elements take more than {} bytes of memory",
            self.limits.element_bytes_max
        ))
    }

    #[cold]
    pub(super) fn too_deep<E: Error>(&self) -> E {
        self.exceeded.set(true);
        E::custom(format_args!(
            "nested deeper than {} levels",
            self.limits.depth_max
        ))
    }
}
