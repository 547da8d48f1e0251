//! What the compiler cannot know of how a program goes.

/// Says that the branch it is called from is rarely taken, so that its code lies behind what is: as
/// `core::hint::cold_path`, which is newer than the oldest compiler that builds this crate.
///
/// The kernel has the first-level cache of instructions between two reads of a connection. What a
/// connection runs for each read had better lie close together.
#[cold]
#[inline(always)]
pub const fn cold_path() {}
