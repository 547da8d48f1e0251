//! The client: a table of calls, and a future for each.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use peers_harness::Result;
use tokio::net::TcpStream;

use crate::driver::{Driver, Side};
use crate::frame::{Header, ITEMS};
use crate::link::{Link, State};

/// Answers up to this are kept in the table.
const SMALL_BYTES: usize = 64;

#[derive(Clone)]
pub(crate) struct Connection(Arc<Link<Calls>>);

impl Connection {
    pub(crate) async fn open(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let link = Arc::new(Link::new(writer, Calls::default()));
        tokio::spawn(Driver::new(link.clone(), reader));
        Ok(Self(link))
    }

    pub(crate) fn call<'a>(&'a self, kind: u32, argument: u32, body: &'a [u8]) -> Call<'a> {
        Call {
            link: &self.0,
            kind,
            argument,
            body,
            id: None,
        }
    }
}

/// The calls that are under way.
#[derive(Default)]
pub(crate) struct Calls {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ended: bool,
}

enum Slot {
    Free,
    /// With the items that have come so far.
    Waiting(Waker, u32),
    Answered(Answer),
}

pub(crate) enum Answer {
    Small([u8; SMALL_BYTES], usize),
    Large(Bytes),
    Items(u32),
}

impl Answer {
    pub(crate) fn items(&self) -> u32 {
        match self {
            Self::Items(count) => *count,
            _ => 0,
        }
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Small(bytes, length) => &bytes[..*length],
            Self::Large(bytes) => bytes,
            Self::Items(_) => &[],
        }
    }
}

impl Calls {
    fn insert(&mut self, waker: Waker) -> u32 {
        let slot = Slot::Waiting(waker, 0);
        let Some(id) = self.free.pop() else {
            self.slots.push(slot);
            return self.slots.len() as u32 - 1;
        };
        self.slots[id as usize] = slot;
        id
    }

    fn is_alone(&self) -> bool {
        self.slots.len() - self.free.len() == 1
    }

    fn take(&mut self, id: u32) -> Option<Answer> {
        let slot = &mut self.slots[id as usize];
        if !matches!(slot, Slot::Answered(_)) {
            return None;
        }
        self.free.push(id);
        match std::mem::replace(slot, Slot::Free) {
            Slot::Answered(answer) => Some(answer),
            _ => None,
        }
    }
}

impl Side for Calls {
    #[inline]
    fn handle(state: &mut State<Self>, _: &Arc<Link<Self>>, header: Header, body: &[u8]) -> bool {
        let slot = &mut state.side.slots[header.id as usize];
        let Slot::Waiting(_, items) = slot else {
            return false;
        };
        if header.kind == ITEMS {
            *items += 1;
            return false;
        }
        let answer = match body.len() {
            0 => Answer::Items(*items),
            1..=SMALL_BYTES => {
                let mut bytes = [0; SMALL_BYTES];
                bytes[..body.len()].copy_from_slice(body);
                Answer::Small(bytes, body.len())
            }
            _ => Answer::Large(Bytes::copy_from_slice(body)),
        };
        if let Slot::Waiting(waker, _) = std::mem::replace(slot, Slot::Answered(answer)) {
            waker.wake();
        }
        true
    }

    fn end(&mut self) {
        self.ended = true;
        for slot in &self.slots {
            if let Slot::Waiting(waker, _) = slot {
                waker.wake_by_ref();
            }
        }
    }
}

/// A call that is waited for to its end: dropping it before is not provided for.
pub(crate) struct Call<'a> {
    link: &'a Link<Calls>,
    kind: u32,
    argument: u32,
    body: &'a [u8],
    id: Option<u32>,
}

impl Future for Call<'_> {
    type Output = Result<Answer>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.link.lock();
        if let Some(answer) = self.id.and_then(|id| state.side.take(id)) {
            return Poll::Ready(Ok(answer));
        }
        if state.side.ended {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset).into()));
        }
        match self.id {
            Some(id) => {
                if let Slot::Waiting(waker, _) = &mut state.side.slots[id as usize] {
                    waker.clone_from(cx.waker());
                }
            }
            None => {
                let id = state.side.insert(cx.waker().clone());
                let header = Header {
                    body_bytes: self.body.len() as u32,
                    id,
                    kind: self.kind,
                    argument: self.argument,
                };
                state.append(header, self.body);
                let alone = state.side.is_alone();
                self.link.send(state, alone);
                self.id = Some(id);
            }
        }
        Poll::Pending
    }
}
