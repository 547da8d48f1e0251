//! The ways between members, which a test cuts.
//!
//! A member that is cut off goes on: its clients reach it, and it reaches nobody. All members advertise
//! a relay as the place where their peers find them. Who connects is told by the head of its first
//! request, in which a member says who it is.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::common::relay::{Passes, carry};

/// Who is cut off: its number, and its id as it says it to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CutOff {
    pub(crate) number: usize,
    pub(crate) id: u64,
}

/// The relays of all members.
pub(crate) struct Peers {
    pub(crate) cut_off: watch::Sender<Option<CutOff>>,
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self {
            cut_off: watch::Sender::new(None),
        }
    }

    /// Where peers find a member that listens there; gives the host to advertise.
    pub(crate) async fn open(&self, number: usize, member: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let cut_off = self.cut_off.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(relay(from, number, member.clone(), cut_off.subscribe()));
            }
        });
        host
    }
}

/// Between one member and another.
async fn relay(
    mut from: TcpStream,
    number: usize,
    member: String,
    mut cut_off: watch::Receiver<Option<CutOff>>,
) -> io::Result<()> {
    let mut head = vec![0; 4096];
    let count = from.read(&mut head).await?;
    let name = sender(&head[..count]);
    let passes = watch::Sender::new(Passes::Everything);
    let (subscribed, first) = (passes.subscribe(), passes.subscribe());
    let conducting = async {
        loop {
            let is_cut = cut_off.borrow_and_update().as_ref().is_some_and(|off| {
                // Who does not say its name may be anybody.
                off.number == number || name.is_none_or(|name| name == off.id)
            });
            passes.send_replace(if is_cut {
                Passes::Nothing
            } else {
                Passes::Everything
            });
            if cut_off.changed().await.is_err() {
                return;
            }
        }
    };
    let carrying = async {
        let mut first = first;
        let _ = first.wait_for(|passes| *passes == Passes::Everything).await;
        let mut to = TcpStream::connect(member).await?;
        to.write_all(&head[..count]).await?;
        let ((from_one, to_one), (from_other, to_other)) = (from.split(), to.split());
        let _ = tokio::join!(
            carry(from_one, to_other, subscribed.clone(), Passes::ToServer),
            carry(from_other, to_one, subscribed, Passes::ToClient),
        );
        Ok(())
    };
    tokio::select! {
        () = conducting => Ok(()),
        carried = carrying => carried,
    }
}

/// Who sends a request, as its head says.
fn sender(head: &[u8]) -> Option<u64> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let (_, rest) = head.split_once("x-server-from: ")?;
    u64::from_str_radix(rest.lines().next()?.trim(), 16).ok()
}
