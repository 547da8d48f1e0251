//! A clock that goes as slowly as a program under valgrind.
//!
//! Why? How a server treats a call depends on how long such calls take: those of some microseconds are
//! not timed each, and those that keep a connection for long get a task. Under valgrind all take fifty
//! times as long, more or less of them on each machine, and other instructions would be counted.
//!
//! The standard library and Tokio ask the C library for the time. Here, they ask this.

use libc::{SYS_clock_gettime, c_int, clockid_t, syscall, timespec};

/// Of the seconds that pass, one in 2^6 is told.
const SLOWER_BITS: u32 = 6;
const NANOS: i64 = 1_000_000_000;

/// What the C library has under this name. No clock that is asked for here is that on the wall.
///
/// # Safety
/// `time` is where a time may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: as above; the kernel writes there or fails.
    if unsafe { syscall(SYS_clock_gettime, clock, time) } != 0 {
        return -1;
    }
    // SAFETY: the kernel has written a time there.
    let time = unsafe { &mut *time };
    let odd = time.tv_sec & ((1 << SLOWER_BITS) - 1);
    time.tv_sec >>= SLOWER_BITS;
    time.tv_nsec = (odd * NANOS + time.tv_nsec) >> SLOWER_BITS;
    0
}
