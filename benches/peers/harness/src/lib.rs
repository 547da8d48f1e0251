//! What every peer shares: the calls that are made, the load on them, what a process reports.
//!
//! A peer implements [`Peer`] and [`Client`], and its `main` is [`run`]. The runner starts it twice,
//! once as the server (`serve`) and once as the client (`load ADDRESS LOAD`), and talks to both by
//! lines on standard input and output. A peer in another language speaks the same lines: see
//! `process.rs`.

mod allocations;
mod load;
mod peer;
mod process;
mod record;
mod usage;

pub use load::{Load, Operation, Outcome};
pub use peer::{Client, Peer, Result, Work, not_available};
pub use process::{COUNT_ALLOCATIONS, run};
pub use record::{Address, Item, Record};
pub use usage::Usage;
