//! Interceptors at work on a call.
//!
//! Why not a boxed future for each question? What is polled once cannot be moved, so the future of an
//! interceptor lives behind a pointer. But most are ready at once, and then that memory serves the next
//! call as well: an [`Inquiry`] is asked about one call after the other, or kept with a call that has to
//! wait.

use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use rpc_core::connection::Answered;
use rpc_core::{Deadline, Status};
use tokio::time::{Sleep, sleep_until};

use super::{CallInfo, Interceptor};
use crate::contain::catch;
use crate::log;

/// The interceptors of one side.
#[derive(Clone, Default)]
pub(crate) struct Interceptors(Vec<Arc<dyn Ask>>);

impl Interceptors {
    pub(crate) fn add(&mut self, interceptor: impl Interceptor) {
        self.0.push(Arc::new(interceptor));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Memory to ask them in, on a client: they have until the deadline of the call.
    pub(crate) fn inquiry(&self) -> Pin<Box<dyn Inquiry + '_>> {
        match &self.0[..] {
            [one] => one.inquiry(),
            list => Series::of(list.iter().map(|one| one.inquiry())),
        }
    }

    /// The same on a server, which ends calls that are late by itself. It holds them, and goes from call
    /// to call.
    pub(crate) fn own_inquiry(&self) -> Pin<Box<dyn Inquiry>> {
        match &self.0[..] {
            [one] => one.clone().own_inquiry(),
            list => Series::of(list.iter().map(|one| one.clone().own_inquiry())),
        }
    }
}

/// An [`Interceptor`], whatever its futures are.
trait Ask: Send + Sync {
    fn inquiry(&self) -> Pin<Box<dyn Inquiry + '_>>;
    fn own_inquiry(self: Arc<Self>) -> Pin<Box<dyn Inquiry>>;
}

impl<I: Interceptor> Ask for I {
    fn inquiry(&self) -> Pin<Box<dyn Inquiry + '_>> {
        link::<_, _, true>(self)
    }

    fn own_inquiry(self: Arc<Self>) -> Pin<Box<dyn Inquiry>> {
        link::<_, _, false>(self)
    }
}

/// What interceptors say; small, as most let the call through.
pub(crate) type Answer = Result<(), Box<Status>>;

/// Interceptors that are asked about a call and told how it ended; then about another.
pub(crate) trait Inquiry: Send {
    /// Turns to a call.
    fn begin(self: Pin<&mut Self>, call: Box<CallInfo>);

    /// Asks one after the other until one refuses. Not to be polled again once it is ready.
    fn poll_before(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer>;

    /// The call; absent while one of them thinks about it.
    fn call(&self) -> Option<&CallInfo>;

    /// Takes the call out.
    fn take(self: Pin<&mut Self>) -> Option<Box<CallInfo>>;

    /// Tells those who were asked, the last first.
    fn after(&self, call: &CallInfo, answered: Answered);
}

impl dyn Inquiry + '_ {
    /// Tells how the call ended.
    #[inline]
    pub(crate) fn tell(&self, answered: Answered) {
        if let Some(call) = self.call() {
            self.after(call, answered);
        }
    }
}

pin_project! {
    /// One interceptor; `ask` makes the future of its answer, which gives back what it was made of.
    struct Link<H, M, F> {
        call: Option<Box<CallInfo>>,
        // Given back with each answer: to count who holds it would cost as much as to ask it.
        interceptor: Option<H>,
        ask: M,
        #[pin]
        asking: Option<F>,
    }
}

/// What an interceptor said, itself, the call.
type Replied<H> = (Answer, H, Box<CallInfo>);

fn link<'a, I, H, const TIMED: bool>(interceptor: H) -> Pin<Box<dyn Inquiry + 'a>>
where
    I: Interceptor,
    H: Deref<Target = I> + Send + Sync + 'a,
{
    let ask = |interceptor: H, mut call: Box<CallInfo>| async move {
        let limit = call.deadline().filter(|_| TIMED);
        let (one, lent): (&I, _) = (&interceptor, &mut *call);
        // What is no `async fn` may do all it does when it makes its future.
        let ended = match catch(move || one.before(lent)) {
            Ok(asking) => answer_of(pin!(Some(asking)), limit).await,
            Err(panic) => Ended::Panicked(panic),
        };
        let answer = match ended {
            Ended::LetThrough => Ok(()),
            not => Err(not.into_status(&call)),
        };
        (answer, interceptor, call)
    };
    Box::pin(Link {
        call: None,
        interceptor: Some(interceptor),
        ask,
        asking: None,
    })
}

/// Polls what an interceptor has made, until the deadline; it is gone then.
async fn answer_of<F: Future<Output = Result<(), Status>>>(
    mut asking: Pin<&mut Option<F>>,
    limit: Option<Deadline>,
) -> Ended {
    let mut timer = None;
    let ended = poll_fn(|cx| {
        // Told by way of a pointer: it is looked at, but not moved.
        let mut polled = Poll::Pending;
        let caught = catch(|| {
            if let Some(asking) = asking.as_mut().as_pin_mut() {
                polled = asking.poll(cx);
            }
        });
        match (caught, polled) {
            (Ok(()), Poll::Ready(Ok(()))) => Poll::Ready(Ended::LetThrough),
            (Ok(()), Poll::Ready(Err(status))) => Poll::Ready(Ended::Refused(status)),
            (Ok(()), Poll::Pending) => poll_late(limit, &mut timer, cx),
            (Err(panic), _) => Poll::Ready(Ended::Panicked(panic)),
        }
    })
    .await;
    match catch(|| asking.set(None)) {
        Ok(()) => ended,
        Err(panic) => Ended::Panicked(panic),
    }
}

/// How a question ended.
enum Ended {
    LetThrough,
    Refused(Status),
    Panicked(String),
    /// The deadline of the call came before.
    Late,
}

impl Ended {
    #[cold]
    fn into_status(self, call: &CallInfo) -> Box<Status> {
        Box::new(match self {
            Self::Refused(status) => status,
            Self::Late => Status::deadline_exceeded("the interceptors took too long"),
            Self::Panicked(panic) => {
                note_panic(call, &panic);
                Status::internal("an interceptor panicked")
            }
            Self::LetThrough => Status::internal("the call was let through"),
        })
    }
}

impl<I, H, M, F> Inquiry for Link<H, M, F>
where
    I: Interceptor,
    H: Deref<Target = I> + Send + Sync,
    M: Fn(H, Box<CallInfo>) -> F + Send,
    F: Future<Output = Replied<H>> + Send,
{
    #[inline]
    fn begin(self: Pin<&mut Self>, call: Box<CallInfo>) {
        *self.project().call = Some(call);
    }

    #[inline]
    fn poll_before(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut this = self.project();
        if let Some(call) = this.call.take()
            && let Some(interceptor) = this.interceptor.take()
        {
            this.asking.set(Some((this.ask)(interceptor, call)));
        }
        let Some(asking) = this.asking.as_mut().as_pin_mut() else {
            let status = Status::internal("no interceptor is there to be asked");
            return Poll::Ready(Err(Box::new(status)));
        };
        let (answer, interceptor, call) = ready!(asking.poll(cx));
        this.asking.set(None);
        *this.interceptor = Some(interceptor);
        *this.call = Some(call);
        Poll::Ready(answer)
    }

    #[inline]
    fn call(&self) -> Option<&CallInfo> {
        self.call.as_deref()
    }

    #[inline]
    fn take(self: Pin<&mut Self>) -> Option<Box<CallInfo>> {
        self.project().call.take()
    }

    #[inline]
    fn after(&self, call: &CallInfo, answered: Answered) {
        let Some(interceptor) = &self.interceptor else {
            return;
        };
        if let Err(panic) = catch(|| interceptor.after(call, answered)) {
            note_panic(call, &panic);
        }
    }
}

/// Ready when the deadline has come. The timer is made for those who have to wait.
#[cold]
fn poll_late(
    deadline: Option<Deadline>,
    timer: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<Ended> {
    let Some(deadline) = deadline else {
        return Poll::Pending;
    };
    let until = || Box::pin(sleep_until(deadline.instant().into()));
    let timer = timer.get_or_insert_with(until).as_mut();
    timer.poll(cx).map(|()| Ended::Late)
}

#[cold]
fn note_panic(call: &CallInfo, panic: &str) {
    log::error!(service = ?call.service(), method = ?call.method(), panic, "interceptor panicked");
}

/// Several, in order.
struct Series<'a> {
    call: Option<Box<CallInfo>>,
    links: Vec<Pin<Box<dyn Inquiry + 'a>>>,
    /// How many have answered: those see the outcome.
    asked: usize,
}

impl<'a> Series<'a> {
    fn of(links: impl Iterator<Item = Pin<Box<dyn Inquiry + 'a>>>) -> Pin<Box<dyn Inquiry + 'a>> {
        Box::pin(Self {
            call: None,
            links: links.collect(),
            asked: 0,
        })
    }
}

impl Inquiry for Series<'_> {
    fn begin(mut self: Pin<&mut Self>, call: Box<CallInfo>) {
        self.call = Some(call);
        self.asked = 0;
    }

    fn poll_before(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = &mut *self;
        while let Some(link) = this.links.get_mut(this.asked) {
            if let Some(call) = this.call.take() {
                link.as_mut().begin(call);
            }
            let answer = ready!(link.as_mut().poll_before(cx));
            this.call = link.as_mut().take();
            this.asked += 1;
            if answer.is_err() {
                return Poll::Ready(answer);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&self) -> Option<&CallInfo> {
        self.call.as_deref()
    }

    fn take(mut self: Pin<&mut Self>) -> Option<Box<CallInfo>> {
        self.call.take()
    }

    fn after(&self, call: &CallInfo, answered: Answered) {
        for link in self.links[..self.asked].iter().rev() {
            link.after(call, answered);
        }
    }
}
