//! The lock around the state of a connection.
//!
//! In the unit tests of this crate it is shuttle's, so that `client/schedules.rs` chooses who takes
//! it next. It cannot be taken outside of a shuttle run there; tests that need connections and no
//! schedules are integration tests.

#[cfg(test)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard};
