//! Interceptors at work on a call.
//!
//! Why not a boxed future for each question? What is polled once cannot be moved, so the future of an
//! interceptor lives behind a pointer. But most are ready at once, and then that memory serves the next
//! call as well: an [`Inquiry`] is asked about one call after the other, or kept with a call that has to
//! wait.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pin_project_lite::pin_project;
use rpc_core::connection::Answered;
use rpc_core::{Deadline, Metadata, Status};
use tokio::time::{Sleep, sleep_until};

use super::{CallInfo, Interceptor, Kept, Names};
use crate::contain::catch;
use crate::log;
use crate::transport::Peer;

/// The interceptors of one side.
#[derive(Default)]
pub(crate) struct Interceptors {
    list: Vec<Arc<dyn Ask>>,
    /// What the last question was asked in, for the next. Held while interceptors are asked, so nobody
    /// waits for it.
    spare: Mutex<Option<Inquiry>>,
}

impl Clone for Interceptors {
    fn clone(&self) -> Self {
        Self {
            list: self.list.clone(),
            spare: Mutex::default(),
        }
    }
}

impl Interceptors {
    pub(crate) fn add(&mut self, interceptor: impl Interceptor) {
        self.list.push(Arc::new(interceptor));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Memory to ask them in. If it is `timed`, they have until the deadline of the call: a client's do,
    /// a server ends calls that are late by itself.
    #[cold]
    pub(crate) fn inquiry(&self, timed: bool) -> Inquiry {
        let link = |one: &Arc<dyn Ask>| one.clone().link(timed);
        let asked = match &self.list[..] {
            [one] => link(one),
            list => Box::pin(Series {
                links: list.iter().map(link).collect(),
                asked: 0,
            }),
        };
        Inquiry { asked, call: None }
    }

    /// The memory of the last question, or where it is to be left; nothing while somebody else asks.
    #[inline]
    pub(crate) fn spare(&self) -> Option<MutexGuard<'_, Option<Inquiry>>> {
        match self.spare.try_lock() {
            Ok(spare) => Some(spare),
            // Whoever panicked may have left a question there.
            Err(TryLockError::Poisoned(poisoned)) => {
                let mut spare = poisoned.into_inner();
                *spare = None;
                Some(spare)
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Tells all of them how a call ended that they have let through, the last first.
    #[inline]
    pub(crate) fn tell(&self, call: &CallInfo, answered: Answered) {
        for one in self.list.iter().rev() {
            one.after(call, answered);
        }
    }
}

/// What interceptors say; small, as most let the call through.
pub(crate) type Answer = Result<(), Box<Status>>;

/// Interceptors that are asked about a call and told how it ended; then about another.
pub(crate) struct Inquiry {
    asked: Pin<Box<dyn Question>>,
    /// Absent while one of them thinks about it.
    call: Option<Box<CallInfo>>,
}

impl Inquiry {
    /// Turns to a call; the peer is that of the call before, if there was one.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        names: &Names,
        metadata: Metadata,
        peer: impl FnOnce() -> Option<Peer>,
        deadline: Option<Deadline>,
        began: Instant,
    ) {
        if let Some(call) = &mut self.call {
            call.renew(names, metadata, deadline, began);
            return;
        }
        let call = CallInfo::new(names.clone(), metadata, peer(), deadline, began);
        self.call = Some(Box::new(call));
    }

    /// Asks one after the other until one refuses. Not to be polled again once it is ready.
    #[inline]
    pub(crate) fn poll_before(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        self.asked.as_mut().poll_before(&mut self.call, cx)
    }

    /// The call; absent while one of them thinks about it.
    #[inline]
    pub(crate) fn call(&self) -> Option<&CallInfo> {
        self.call.as_deref()
    }

    /// Takes out what is to be kept of a client's call, which leaves its memory to the next.
    #[inline]
    pub(crate) fn keep(&mut self) -> Option<Kept> {
        self.call.as_deref_mut().map(Kept::of)
    }

    /// Takes the call out.
    pub(crate) fn into_call(self) -> Option<Box<CallInfo>> {
        self.call
    }

    /// Tells those who were asked how the call ended, the last first.
    #[inline]
    pub(crate) fn tell(&self, answered: Answered) {
        if let Some(call) = &self.call {
            self.asked.after(call, answered);
        }
    }
}

/// An [`Interceptor`], whatever its futures are.
trait Ask: Send + Sync {
    fn link(self: Arc<Self>, timed: bool) -> Pin<Box<dyn Question>>;
    fn after(&self, call: &CallInfo, answered: Answered);
}

impl<I: Interceptor> Ask for I {
    fn link(self: Arc<Self>, timed: bool) -> Pin<Box<dyn Question>> {
        link(self, timed)
    }

    fn after(&self, call: &CallInfo, answered: Answered) {
        tell(self, call, answered);
    }
}

/// Tells an interceptor how a call ended.
#[inline]
fn tell(interceptor: &impl Interceptor, call: &CallInfo, answered: Answered) {
    if let Err(panic) = catch(|| interceptor.after(call, answered)) {
        note_panic(call, &panic);
    }
}

/// One interceptor, or several.
trait Question: Send {
    /// Takes the call, if it is there: it is a new one. Gives it back with the answer.
    fn poll_before(
        self: Pin<&mut Self>,
        call: &mut Option<Box<CallInfo>>,
        cx: &mut Context<'_>,
    ) -> Poll<Answer>;

    /// Tells those who were asked.
    fn after(&self, call: &CallInfo, answered: Answered);
}

pin_project! {
    /// One interceptor; `ask` makes the future of its answer, which gives back what it was made of.
    struct Link<I, M, F> {
        // Given back with each answer: to count who holds it would cost as much as to ask it.
        interceptor: Option<Arc<I>>,
        ask: M,
        #[pin]
        asking: Option<F>,
    }
}

/// What an interceptor said, itself, the call.
type Replied<I> = (Answer, Arc<I>, Box<CallInfo>);

fn link<I: Interceptor>(interceptor: Arc<I>, timed: bool) -> Pin<Box<dyn Question>> {
    let ask = move |interceptor: Arc<I>, mut call: Box<CallInfo>| async move {
        let limit = if timed { call.deadline() } else { None };
        let ended = {
            let mut asking = pin!(None);
            let mut lent = Some(&mut *call);
            let mut timer = None;
            let ended = poll_fn(|cx| {
                // Told by way of a pointer: it is looked at, but not moved.
                let mut polled = Poll::Pending;
                // What is no `async fn` may do all it does when it makes its future; what it has made
                // may do so when it is dropped.
                let caught = catch(|| {
                    if let Some(call) = lent.take() {
                        asking.set(Some(interceptor.before(call)));
                    }
                    if let Some(asking) = asking.as_mut().as_pin_mut() {
                        polled = asking.poll(cx);
                    }
                    if polled.is_ready() {
                        asking.set(None);
                    }
                });
                if caught.is_ok() && matches!(polled, Poll::Ready(Ok(()))) {
                    return Poll::Ready(Ok(()));
                }
                match (caught, polled) {
                    (Err(panic), _) => Ended::Panicked(panic).ready(),
                    (_, Poll::Ready(Err(status))) => Ended::Refused(status).ready(),
                    _ => poll_late(limit, &mut timer, cx),
                }
            })
            .await;
            // What is late, or has panicked, is still there.
            ended.map_err(|ended| match catch(|| asking.set(None)) {
                Ok(()) => ended,
                Err(panic) => Box::new(Ended::Panicked(panic)),
            })
        };
        let answer = ended.map_err(|ended| ended.into_status(&call));
        (answer, interceptor, call)
    };
    Box::pin(Link {
        interceptor: Some(interceptor),
        ask,
        asking: None,
    })
}

/// How a question ended whose call is not let through.
enum Ended {
    Refused(Status),
    Panicked(String),
    /// The deadline of the call came before.
    Late,
}

impl Ended {
    #[cold]
    fn ready(self) -> Poll<Result<(), Box<Self>>> {
        Poll::Ready(Err(Box::new(self)))
    }

    #[cold]
    fn into_status(self, call: &CallInfo) -> Box<Status> {
        Box::new(match self {
            Self::Refused(status) => status,
            Self::Late => Status::deadline_exceeded("the interceptors took too long"),
            Self::Panicked(panic) => {
                note_panic(call, &panic);
                Status::internal("an interceptor panicked")
            }
        })
    }
}

impl<I, M, F> Question for Link<I, M, F>
where
    I: Interceptor,
    M: Fn(Arc<I>, Box<CallInfo>) -> F + Send,
    F: Future<Output = Replied<I>> + Send,
{
    #[inline]
    fn poll_before(
        self: Pin<&mut Self>,
        call: &mut Option<Box<CallInfo>>,
        cx: &mut Context<'_>,
    ) -> Poll<Answer> {
        let mut this = self.project();
        if let Some(call) = call.take()
            && let Some(interceptor) = this.interceptor.take()
        {
            this.asking.set(Some((this.ask)(interceptor, call)));
        }
        let Some(asking) = this.asking.as_mut().as_pin_mut() else {
            let status = Status::internal("no interceptor is there to be asked");
            return Poll::Ready(Err(Box::new(status)));
        };
        let (answer, interceptor, asked) = ready!(asking.poll(cx));
        this.asking.set(None);
        *this.interceptor = Some(interceptor);
        *call = Some(asked);
        Poll::Ready(answer)
    }

    #[inline]
    fn after(&self, call: &CallInfo, answered: Answered) {
        if let Some(interceptor) = &self.interceptor {
            tell(&**interceptor, call, answered);
        }
    }
}

/// Ready when the deadline has come. The timer is made for those who have to wait.
#[cold]
fn poll_late(
    deadline: Option<Deadline>,
    timer: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Box<Ended>>> {
    let Some(deadline) = deadline else {
        return Poll::Pending;
    };
    let until = || Box::pin(sleep_until(deadline.instant().into()));
    let timer = timer.get_or_insert_with(until).as_mut();
    ready!(timer.poll(cx));
    Ended::Late.ready()
}

#[cold]
fn note_panic(call: &CallInfo, panic: &str) {
    log::error!(service = ?call.service(), method = ?call.method(), panic, "interceptor panicked");
}

/// Several, in order.
struct Series {
    links: Vec<Pin<Box<dyn Question>>>,
    /// How many have answered: those see the outcome.
    asked: usize,
}

impl Question for Series {
    fn poll_before(
        mut self: Pin<&mut Self>,
        call: &mut Option<Box<CallInfo>>,
        cx: &mut Context<'_>,
    ) -> Poll<Answer> {
        let this = &mut *self;
        if call.is_some() {
            this.asked = 0;
        }
        while let Some(link) = this.links.get_mut(this.asked) {
            let answer = ready!(link.as_mut().poll_before(call, cx));
            this.asked += 1;
            if answer.is_err() {
                return Poll::Ready(answer);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn after(&self, call: &CallInfo, answered: Answered) {
        for link in self.links[..self.asked].iter().rev() {
            link.after(call, answered);
        }
    }
}
