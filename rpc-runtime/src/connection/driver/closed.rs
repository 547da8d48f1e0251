//! Why a connection is over.

use std::fmt;
use std::io;

use rpc_core::connection::ConnectionError;

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum Closed {
    /// This side wanted it.
    Finished,
    /// The peer ended the stream.
    EndOfStream,
    /// The stream failed.
    Io(io::Error),
    /// The protocol was broken, or time ran out.
    Protocol(ConnectionError),
    /// Nobody drives it any more.
    Stopped,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("closed by this side"),
            Self::EndOfStream => f.write_str("closed by the peer"),
            Self::Io(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Stopped => f.write_str("its task was stopped with its runtime, or panicked"),
        }
    }
}
