//! The lock around the state of a connection, and what says who may use what is not under it.
//!
//! The lock is mostly held for some hundred nanoseconds, and a thread that sleeps costs fifty microseconds:
//! who finds it taken asks again for a while before it sleeps. The lock of the standard library does so
//! too, but only as long as nobody sleeps already. With two workers of a client, hardly anybody got it
//! awake then.
//!
//! In the unit tests of this crate they are shuttle's, so that `client/schedules.rs` chooses who is
//! next. The lock cannot be taken outside of a shuttle run there; tests that need connections and no
//! schedules are integration tests.

#[cfg(not(test))]
pub(crate) use self::patient::Mutex;
#[cfg(test)]
pub(super) use shuttle::sync::atomic::AtomicBool;
#[cfg(test)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicU64 as AtomicState};
#[cfg(not(test))]
pub(super) use std::sync::atomic::AtomicBool;
#[cfg(not(test))]
pub(crate) use std::sync::{MutexGuard, atomic::AtomicU64 as AtomicState};

#[cfg(not(test))]
mod patient {
    use std::hint::spin_loop;
    use std::sync::{LockResult, MutexGuard, PoisonError, TryLockError};

    /// As that of the standard library, but for its patience.
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    /// Times that a taken lock is asked for before the thread sleeps.
    const ASKED_MAX: u32 = 10;
    /// Between two of them; the first few wait less. It comes to a few microseconds for all of them.
    const PAUSES_MAX: u32 = 64;

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        /// Takes the lock, also if whoever had it has panicked.
        #[inline]
        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            Ok(self.take())
        }

        /// Not inlined: it is taken in many places, and the guard fits into two registers.
        #[inline(never)]
        fn take(&self) -> MutexGuard<'_, T> {
            for asked in 0..ASKED_MAX {
                match self.0.try_lock() {
                    Ok(guard) => return guard,
                    Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                    Err(TryLockError::WouldBlock) => pause(asked),
                }
            }
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Lets whoever has the lock go on for a while.
    #[cold]
    fn pause(asked: u32) {
        for _ in 0..PAUSES_MAX.min(1 << asked) {
            spin_loop();
        }
    }
}
