//! What those who watch a name are told, for as long as they listen.
//!
//! What waits for a listener who is slow? Next to nothing: what is told is worked out when there is
//! room for it on the way, from what was told before. So a slow one is told less often, and always
//! the newest.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{self, Poll, ready};
use std::time::Duration;

use futures_core::Stream;

use super::EmbeddedRegistry;
use crate::clock;
use crate::context::Context;
use crate::registry::wire::{Changes, Mark};
use crate::watch;

/// The longest silence: who listens can tell a registry that has nothing to say from one that is
/// frozen.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What happens to a name, as a stream. It ends when the server that it is sent by takes no more
/// calls.
pub(super) struct Watching {
    /// What is told next, and who tells what comes after it; none after the end.
    next: Option<Pin<Box<dyn Future<Output = Option<Told>> + Send>>>,
}

type Told = (Changes, Teller);

/// Tells one listener.
struct Teller {
    registry: EmbeddedRegistry,
    name: String,
    /// What the listener has seen.
    seen: Mark,
    news: watch::Receiver<()>,
    context: Context,
}

impl Watching {
    /// Within the handler of the call.
    pub(super) fn new(registry: EmbeddedRegistry, name: String, since: Mark) -> Self {
        let teller = Teller {
            // Before the first look: what changes after it is not missed.
            news: registry.shared.news.subscribe(),
            registry,
            name,
            seen: since,
            context: Context::current(),
        };
        Self {
            next: Some(Box::pin(teller.tell(Duration::ZERO))),
        }
    }
}

impl Stream for Watching {
    type Item = Changes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Changes>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let told = ready!(next.as_mut().poll(cx));
        let (changes, teller) = told.unzip();
        self.next = teller.map(|teller| Box::pin(teller.tell(SILENCE_MAX)) as _);
        Poll::Ready(changes)
    }
}

impl Teller {
    /// What there is to tell, at the latest after a silence; `None` when the server is about to go.
    async fn tell(mut self, silence: Duration) -> Option<Told> {
        let end = clock::now() + silence;
        while !self.context.is_draining() {
            let looked = self.registry.change(|table, now| {
                table.expire(now);
                if now >= end || table.has_news(now, &self.name, self.seen) {
                    return Ok(table.changes(now, &self.name, self.seen));
                }
                Err(table.next_event(now))
            });
            let next = match looked {
                Ok(changes) => {
                    self.seen = changes.mark;
                    return Some((changes, self));
                }
                Err(next) => next.map_or(end, |next| next.min(end)),
            };
            // Whatever it was, it is looked again.
            let _ = tokio::time::timeout_at(next.into(), self.something_new()).await;
        }
        None
    }

    /// Ready when something has changed, or the server is about to go.
    async fn something_new(&mut self) {
        let mut draining = pin!(self.context.draining());
        let mut changed = pin!(self.news.changed());
        poll_fn(|cx| match draining.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => changed.as_mut().poll(cx),
        })
        .await;
    }
}
