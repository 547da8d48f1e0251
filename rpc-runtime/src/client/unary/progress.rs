//! How far a call has come, whatever its types.
//!
//! It is compiled once, with this crate, and not again for each method of a program.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use rpc_core::connection::StartError;
use rpc_core::{Metadata, MethodDescriptor};

use super::in_line::InLine;
use super::sending::{Call, Sending, head, send, send_in_line, send_intercepted, send_to_one};
use crate::boxed::Boxed;
use crate::client::attempt::{Failed, give_up, name_missing, start_status};
use crate::client::balanced::{Begun, Tracked};
use crate::client::call::{Encode, capture};
use crate::client::connection::Connection;
use crate::client::general::{Arguments, general};
use crate::client::intercepted::Asked;
use crate::client::near::Held;
use crate::client::pickup::{Pending, Picked, poll_answer};
use crate::client::slot::{Answer, Failure, ShortReply};
use crate::context;
use crate::middleware::Kept;

/// How far a call has come. Small, 80 bytes: it is moved with its caller's task.
pub(super) struct Progress<'a> {
    pub(super) stage: Stage<'a>,
    pub(super) followers: Option<Followers<'a>>,
}

pub(super) enum Stage<'a> {
    New,
    /// Apart, as a connection most often has room.
    InLine(Box<InLine<'a>>),
    Sent(Sent<'a>),
    /// On the other way. Apart, because it is large and rarely needed: a caller's task is small without
    /// it, and few cache lines are touched for a call.
    Other(Boxed<'a, Answer>),
    /// It was refused, or has ended on the other way.
    Over,
}

impl<'a> Stage<'a> {
    /// Notes that the request of a new call was sent.
    #[inline]
    pub(super) fn note_sent(&mut self, connection: Held<'a>, pending: Pending) {
        debug_assert!(matches!(self, Self::New), "it is sent once");
        let new = std::mem::replace(self, Self::Sent(Sent::new(connection, pending)));
        // It is new, so there is nothing to drop; else the compiler would look.
        std::mem::forget(new);
    }
}

/// A request that was sent. Dropping it is giving it up.
pub(super) struct Sent<'a> {
    connection: Held<'a>,
    /// Absent once it is answered.
    call: Option<Pending>,
}

impl<'a> Sent<'a> {
    #[inline]
    pub(super) const fn new(connection: Held<'a>, pending: Pending) -> Self {
        Self {
            connection,
            call: Some(pending),
        }
    }
}

impl Drop for Sent<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.call.is_some() {
            give_up(&self.connection, self.call, None);
        }
    }
}

/// Who follows a call from its request to its answer, beside its caller.
///
/// One enum, as few calls have both: a call has room for the larger of the two.
pub(super) enum Followers<'a> {
    /// What its fleet knows of it.
    Fleet(Tracked<'a>),
    /// What interceptors are told of with the answer.
    Interceptors(Kept),
    Both(Box<(Tracked<'a>, Kept)>),
}

impl<'a> Followers<'a> {
    fn apart(self) -> (Option<Tracked<'a>>, Option<Kept>) {
        match self {
            Self::Fleet(tracked) => (Some(tracked), None),
            Self::Interceptors(kept) => (None, Some(kept)),
            Self::Both(both) => (Some(both.0), Some(both.1)),
        }
    }
}

/// A call that has left the short way.
pub(crate) struct Tried {
    /// The interceptors that know of it.
    pub(in crate::client) asked: Option<Asked>,
    pub(in crate::client) how_far: Box<HowFar>,
}

/// Where a call has left the short way.
pub(in crate::client) enum HowFar {
    /// It was not sent yet.
    Unsent,
    One(LostCall),
    Fleet(Begun),
}

impl HowFar {
    #[cold]
    pub(super) fn boxed(self) -> Box<Self> {
        Box::new(self)
    }
}

/// A first attempt that failed with its connection.
pub(in crate::client) struct LostCall {
    pub(in crate::client) connection: Arc<Connection>,
    pub(in crate::client) failed: Failed,
}

impl<'a> Progress<'a> {
    #[inline]
    pub(super) const fn new() -> Self {
        Self {
            stage: Stage::New,
            followers: None,
        }
    }

    /// Takes the reply, which is the end of the call, if it is a short one and has come.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "handing over the reply costs as much as taking it"
    )]
    pub(super) fn take_short(&mut self, call: Call<'_>) -> Option<ShortReply> {
        let Stage::Sent(sent) = &mut self.stage else {
            return None;
        };
        let short = sent.call?.take_short(&sent.connection)?;
        sent.call = None;
        if self.followers.is_some() {
            self.note_short(call);
        }
        context::capture(&Metadata::new());
        Some(short)
    }

    /// Gets on with a call whose reply [is not there](Self::take_short): sends it, if it is new.
    #[inline(never)]
    pub(super) fn poll(
        &mut self,
        call: Call<'a>,
        encode: &Encode<'_>,
        arguments: &'a dyn Arguments,
        cx: &mut Context<'_>,
    ) -> Poll<Answer> {
        if !matches!(self.stage, Stage::New) || call.0.has_interceptors() {
            return self.poll_on(call, encode, arguments, cx);
        }
        match send(call, encode, &mut self.stage, cx) {
            Some(Ok(())) => Poll::Pending,
            Some(Err(error)) => Poll::Ready(self.refuse(*error)),
            None => self.poll_on(call, encode, arguments, cx),
        }
    }

    /// Tells the fleet and the interceptors of a call that it was answered.
    #[inline(never)]
    fn note_short(&mut self, (channel, method): Call<'_>) {
        let tell = |kept| channel.tell(kept, method, &Ok(()));
        match self.followers.take() {
            None => {}
            Some(Followers::Fleet(tracked)) => tracked.replied(),
            Some(Followers::Interceptors(kept)) => tell(kept),
            Some(Followers::Both(both)) => {
                both.0.replied();
                tell(both.1);
            }
        }
    }

    /// The end of a call that could not be sent.
    #[cold]
    fn refuse(&mut self, error: StartError) -> Answer {
        self.fail(start_status(error).into())
    }

    #[cold]
    fn fail(&mut self, failure: Failure) -> Answer {
        self.stage = Stage::Over;
        let answer = Err(failure);
        capture(&answer);
        answer
    }

    /// Gets on with a call that is not on the shortest way.
    #[inline(never)]
    fn poll_on(
        &mut self,
        call: Call<'a>,
        encode: &Encode<'_>,
        arguments: &'a dyn Arguments,
        cx: &mut Context<'_>,
    ) -> Poll<Answer> {
        let tried = match self.stage {
            Stage::New | Stage::InLine(_) => match self.begin(call, encode, cx) {
                Sending::UnderWay => return Poll::Pending,
                Sending::Ended(failure) => return Poll::Ready(self.fail(failure)),
                Sending::Elsewhere(tried) => tried,
            },
            Stage::Sent(_) => match ready!(self.poll_answer(call, cx)) {
                Ok(answer) => return Poll::Ready(answer),
                Err(tried) => Some(tried),
            },
            Stage::Other(_) => return self.poll_other(cx),
            Stage::Over => return Poll::Pending,
        };
        self.stage = Stage::Other(general(call.0, call.1, arguments, tried));
        self.poll_other(cx)
    }

    /// Sends a call that interceptors see, that one of a fleet answers, or that has to wait for room.
    fn begin(&mut self, call: Call<'a>, encode: &Encode<'_>, cx: &mut Context<'_>) -> Sending {
        if matches!(self.stage, Stage::InLine(_)) {
            return self.begin_in_line(call, encode, cx);
        }
        if call.0.has_interceptors() {
            return send_intercepted(call, encode, self, cx);
        }
        if let Some(sending) = send_in_line(call, encode, &mut self.stage, cx) {
            return sending;
        }
        match send_to_one(call, encode, self, cx) {
            Ok(()) => Sending::UnderWay,
            Err(how_far) => Sending::Elsewhere(how_far.map(|how_far| Tried {
                asked: None,
                how_far,
            })),
        }
    }

    /// Gets on with a call that is in line.
    #[cold]
    fn begin_in_line(&mut self, call: Call<'a>, encode: &Encode<'_>, cx: &Context<'_>) -> Sending {
        match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::InLine(line) => line.advance(head(call), encode, &mut self.stage, cx),
            _ => Sending::Elsewhere(None),
        }
    }

    /// Waits for the answer to a call that was sent; gives how far it came if it was lost.
    fn poll_answer(
        &mut self,
        call @ (channel, method): Call<'_>,
        cx: &Context<'_>,
    ) -> Poll<Result<Answer, Tried>> {
        let Stage::Sent(sent) = &mut self.stage else {
            return Poll::Pending;
        };
        let Some(pending) = sent.call else {
            return Poll::Pending;
        };
        let picked = ready!(poll_answer(&sent.connection, pending, cx));
        sent.call = None;
        let answer = match picked {
            Picked::Short(short) => {
                self.note_short(call);
                Ok(short.into())
            }
            Picked::Reply(mut reply) => {
                let (tracked, kept) = self.followers.take().map_or((None, None), Followers::apart);
                if let Some(tracked) = tracked {
                    tracked.answered(&sent.connection, &mut reply);
                }
                if let Some(kept) = kept {
                    channel.tell(kept, method, &Ok(()));
                }
                Ok(reply)
            }
            Picked::Failure(failure, deadline) => {
                let (tracked, kept) = self.followers.take().map_or((None, None), Followers::apart);
                let lost = (failure, deadline);
                match sent.fail(method, pending, lost, tracked) {
                    Ok(failure) => {
                        if let Some(kept) = kept {
                            channel.tell(kept, method, &Err(&failure));
                        }
                        Err(failure)
                    }
                    Err(how_far) => {
                        let asked = kept.map(|kept| Asked::let_through(kept, method));
                        return Poll::Ready(Err(Tried { asked, how_far }));
                    }
                }
            }
        };
        capture(&answer);
        Poll::Ready(Ok(answer))
    }

    /// Polls the other way, which sees to the metadata of the response by itself.
    fn poll_other(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Stage::Other(other) = &mut self.stage else {
            return Poll::Pending;
        };
        let answer = ready!(other.as_mut().poll(cx));
        self.stage = Stage::Over;
        Poll::Ready(answer)
    }
}

impl Sent<'_> {
    /// Why the call failed, if that is the end of it; else how far it came.
    #[cold]
    fn fail(
        &self,
        method: &MethodDescriptor,
        pending: Pending,
        (failure, deadline): (Failure, Option<Instant>),
        tracked: Option<Tracked<'_>>,
    ) -> Result<Failure, Box<HowFar>> {
        let connection = Arc::clone(&self.connection);
        let names = (method.service, method.name);
        if let Some(tracked) = tracked {
            let failed = Failed::sent(failure, deadline, pending.has_items);
            let begun = tracked.lost(connection, names, failed);
            return Err(HowFar::Fleet(begun).boxed());
        }
        if pending.has_items || self.connection.accepts_calls() {
            return Ok(name_missing(&self.connection, names, failure));
        }
        let failed = Failed::sent(failure, deadline, false);
        Err(HowFar::One(LostCall { connection, failed }).boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_small() {
        assert!(size_of::<Progress<'_>>() <= 80);
    }
}
