//! A value that changes, and those who wait for that: they are woken in the order in which they began
//! to wait.
//!
//! Why not Tokio's? It spreads those who wait over eight lists, at random. Who came first is not
//! served first then, and a simulation is not the same twice.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Changes the value. A cheap handle.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// Waits for changes.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    value: T,
    changes: u64,
}

/// The value; it does not change while this is held.
pub(crate) struct Ref<'a, T>(MutexGuard<'a, State<T>>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    pub(crate) fn new(value: T) -> Self {
        let state = State { value, changes: 0 };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
        }))
    }

    /// What follows is a change to whom this is given.
    pub(crate) fn subscribe(&self) -> Receiver<T> {
        Receiver {
            seen: self.0.lock().changes,
            shared: self.0.clone(),
        }
    }

    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.lock())
    }

    pub(crate) fn send_replace(&self, value: T) {
        self.send_if_modified(|old| {
            *old = value;
            true
        });
    }

    /// Changes the value, or not, as `modify` says; gives what it said.
    pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = {
            let mut state = self.0.lock();
            let modified = modify(&mut state.value);
            state.changes += u64::from(modified);
            modified
        };
        if modified {
            self.0.changed.notify_waiters();
        }
        modified
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Receiver<T> {
    /// The value, of which [`changed`](Self::changed) does not tell any more.
    pub(crate) fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.lock();
        self.seen = state.changes;
        Ref(state)
    }

    /// Ready when the value has changed since this was last ready. Nothing is missed if the future is
    /// dropped.
    pub(crate) async fn changed(&mut self) {
        loop {
            // Created before looking: a notification in between is not lost.
            let changed = self.shared.changed.notified();
            let changes = self.shared.lock().changes;
            if changes != self.seen {
                self.seen = changes;
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_first_is_woken_first() {
        let sender = Sender::new(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..100 {
            let (mut receiver, order) = (sender.subscribe(), order.clone());
            waiting.spawn(async move {
                receiver.changed().await;
                order.lock().unwrap().push(number);
                *receiver.borrow_and_update()
            });
        }
        tokio::task::yield_now().await;
        assert!(!sender.send_if_modified(|_| false));
        tokio::task::yield_now().await;
        assert!(order.lock().unwrap().is_empty());
        sender.send_replace(7);
        assert_eq!(waiting.join_all().await, [7; 100]);
        assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
    }
}
