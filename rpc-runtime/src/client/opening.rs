//! An attempt to connect: by the callers who wait for it, and without them once they have gone.
//!
//! Why does no caller have it to itself while the others wait for that one? A caller is not always asked
//! how far it has come, such as one that a `select!` has put aside. So whoever is asked gets on with it.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::connection::{Connection, Opened};
use crate::boxed::{Boxed, boxed};
use crate::error::{Error, Kind};

/// A connection that was made, if it could be.
pub(super) type Made = Result<(Connection, Opened), Error>;

/// Makes a connection.
pub(super) type Opening = Boxed<'static, Made>;

/// An attempt to connect, and those who wait for it.
pub(super) struct Attempted {
    state: Mutex<State>,
    callers: Arc<Callers>,
}

struct State {
    stage: Stage,
    /// Somebody came while another one got on with it.
    was_missed: bool,
    /// The number of the next caller.
    next: u64,
}

enum Stage {
    /// By the callers who wait for it: the call of the one who is asked last leaves together with the
    /// hello.
    Driven(Opening),
    /// In a task of its own, since a caller did not wait for it any more: the next would find a stream
    /// that the server has given up meanwhile.
    Alone(Task),
    /// Somebody is getting on with it.
    Taken,
    /// Somebody sees to what came of it.
    Over,
    Settled,
}

/// Whom to wake.
#[derive(Default)]
struct Callers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// In the order of their numbers, which is that in which they came.
    wakers: Vec<(u64, Waker)>,
    /// How often all of them were woken.
    wakes: u64,
}

impl Wake for Callers {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

impl Callers {
    fn wake_all(&self) {
        let mut waiting = lock(&self.0);
        waiting.wakes += 1;
        let wakers = mem::take(&mut waiting.wakers);
        drop(waiting);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// A caller waits; gives how often all were woken so far.
    fn register(&self, caller: u64, waker: &Waker) -> u64 {
        let waker = waker.clone();
        let mut waiting = lock(&self.0);
        let known = match waiting.position(caller) {
            Ok(at) => Some(mem::replace(&mut waiting.wakers[at].1, waker)),
            Err(at) => {
                waiting.wakers.insert(at, (caller, waker));
                None
            }
        };
        let wakes = waiting.wakes;
        drop(waiting);
        drop(known);
        wakes
    }

    fn forget(&self, caller: u64) {
        let mut waiting = lock(&self.0);
        let known = waiting.position(caller).ok();
        let known = known.map(|at| waiting.wakers.remove(at));
        drop(waiting);
        drop(known);
    }
}

impl Waiting {
    /// Where a caller is, or belongs.
    fn position(&self, caller: u64) -> Result<usize, usize> {
        self.wakers
            .binary_search_by_key(&caller, |(number, _)| *number)
    }
}

impl Attempted {
    pub(super) fn new(opening: Opening) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                stage: Stage::Driven(opening),
                was_missed: false,
                next: 0,
            }),
            callers: Arc::default(),
        })
    }

    /// Gives it up, or says that all is known that came of it: those who wait look again.
    pub(super) fn settle(&self) {
        let stage = mem::replace(&mut lock(&self.state).stage, Stage::Settled);
        drop(stage);
        self.callers.wake_all();
    }

    /// Gets on with it; gives what came of it once, and nothing to all others.
    fn poll(&self, caller: u64, cx: &Context<'_>) -> Poll<Option<Made>> {
        let wakes = self.callers.register(caller, cx.waker());
        let mut state = lock(&self.state);
        let mut stage = match &mut state.stage {
            Stage::Settled => return Poll::Ready(None),
            Stage::Over => return Poll::Pending,
            Stage::Taken => {
                state.was_missed = true;
                return Poll::Pending;
            }
            stage => mem::replace(stage, Stage::Taken),
        };
        drop(state);
        let waker = Waker::from(self.callers.clone());
        let made = stage.poll(&mut Context::from_waker(&waker));
        if made.is_ready() {
            stage = Stage::Over;
        }
        // Whoever came since the last wake-up knows nothing of it, and this caller may not be asked again.
        if self.put_back(stage) && lock(&self.callers.0).wakes != wakes {
            self.callers.wake_all();
        }
        made.map(Some)
    }

    /// Gives back what was taken, unless it was given up meanwhile; true if somebody came meanwhile.
    fn put_back(&self, stage: Stage) -> bool {
        let mut state = lock(&self.state);
        let was_missed = mem::take(&mut state.was_missed);
        if let Stage::Taken = state.stage {
            state.stage = stage;
            return was_missed;
        }
        drop(state);
        drop(stage);
        was_missed
    }

    /// A caller goes away: it goes on without it.
    fn leave(&self, caller: u64) {
        self.callers.forget(caller);
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut state = lock(&self.state);
        let opening = match mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Driven(opening) => opening,
            stage => {
                state.stage = stage;
                return;
            }
        };
        drop(state);
        self.put_back(Stage::Alone(Task::spawn(opening, &runtime)));
        // The others wait for the task now.
        self.callers.wake_all();
    }
}

impl Stage {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Made> {
        match self {
            Self::Driven(opening) => opening.as_mut().poll(cx),
            Self::Alone(task) => task.poll(cx),
            Self::Taken | Self::Over | Self::Settled => Poll::Pending,
        }
    }
}

/// Ends with whoever waits for it.
pub(super) struct Task {
    handle: JoinHandle<()>,
    /// There once it is over. Not its output: tasks of another type are more to compile.
    made: Arc<Mutex<Option<Made>>>,
}

impl Task {
    fn spawn(opening: Opening, runtime: &Handle) -> Self {
        let made = Arc::new(Mutex::new(None));
        let place = made.clone();
        let task = async move {
            let opened = opening.await;
            *lock(&place) = Some(opened);
        };
        Self {
            handle: runtime.spawn(boxed(task)),
            made,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Made> {
        let _ended = ready!(Pin::new(&mut self.handle).poll(cx));
        Poll::Ready(lock(&self.made).take().unwrap_or_else(|| {
            let text = "the runtime that connected has ended";
            Err(Error::new(Kind::Connect, text))
        }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// A caller's wait for an attempt, which goes on without it.
pub(super) struct Driving {
    attempt: Arc<Attempted>,
    caller: u64,
}

impl Driving {
    pub(super) fn new(attempt: &Arc<Attempted>) -> Self {
        let mut state = lock(&attempt.state);
        let caller = state.next;
        state.next += 1;
        drop(state);
        let attempt = attempt.clone();
        Self { attempt, caller }
    }
}

impl Future for Driving {
    type Output = Option<Made>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.attempt.poll(self.caller, cx)
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        self.attempt.leave(self.caller);
    }
}
