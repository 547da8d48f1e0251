//! All connections of a channel, to be closed with it.
//!
//! Why does not each way to a server close its own? It knows those that take calls. One that takes no
//! more, because its server goes away, is in doubt, or is listed no more, is held by the calls that go on
//! there and by nobody else.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::connection::{Client, Connection, close};
use super::remote::closed_by_user;
use crate::connection::Shared;

/// All connections of a channel that there may be.
#[derive(Default)]
pub(super) struct Connections(Mutex<List>);

#[derive(Default)]
struct List {
    made: Vec<Weak<Shared<Client>>>,
    /// With so many, those that are gone are forgotten: twice as many as there were the last time.
    sweep_at: usize,
    is_closed: bool,
}

impl List {
    /// Fewer are not worth a sweep.
    const SWEEP_MIN: usize = 4;
}

impl Connections {
    /// There is one more; in a channel that is closed it is closed as well.
    pub(super) fn add(&self, connection: &Connection) {
        let mut list = self.list();
        if list.is_closed {
            drop(list);
            return close(&connection.shared, &closed_by_user());
        }
        if list.made.len() >= list.sweep_at {
            list.made.retain(|one| one.strong_count() > 0);
            list.sweep_at = (2 * list.made.len()).max(List::SWEEP_MIN);
        }
        list.made.push(Arc::downgrade(&connection.shared));
    }

    /// Ends all of them and every call on them, now and later.
    pub(super) fn close(&self) {
        let mut list = self.list();
        list.is_closed = true;
        let made = std::mem::take(&mut list.made);
        drop(list);
        for shared in made.iter().filter_map(Weak::upgrade) {
            close(&shared, &closed_by_user());
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list();
        f.debug_struct("Connections")
            .field("made", &list.made.len())
            .field("is_closed", &list.is_closed)
            .finish()
    }
}
