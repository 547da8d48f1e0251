//! The lock around the state of a connection, and what says who may use what is not under it.
//!
//! In the unit tests of this crate they are shuttle's, so that `client/schedules.rs` chooses who is
//! next. The lock cannot be taken outside of a shuttle run there; tests that need connections and no
//! schedules are integration tests.

#[cfg(test)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicU64 as AtomicState};
#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU64 as AtomicState};
