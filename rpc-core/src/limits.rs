//! The limits that both sides share, as shipped; the builders of the runtime set others.

use std::time::Duration;

/// The longest message, in bytes of its encoded arguments or reply: 4 MiB.
pub const MESSAGE_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// What metadata, error text and lengths may add to a message in a frame: 16 KiB. Fixed.
pub const OVERHEAD_BYTES_MAX: usize = 16 * 1024;

/// How many calls may be in flight on one connection: 1,024.
pub const CALLS_PER_CONNECTION_MAX: u32 = 1024;

/// How long a connection may be without calls before its server closes it: 5 minutes.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long the opening of a connection may take: 5 seconds.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many streams there may be on one connection, in both directions: 1,024.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1024;

/// How much one side takes of the items of the other before it has said that they were consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamLimits {
    /// Bytes of one stream.
    pub stream_bytes: u32,
    /// Bytes of all streams of a connection.
    pub connection_bytes: u32,
    /// By how many bytes the windows of all streams of a connection together may grow beyond that,
    /// where the way is long and the consumer waits for items; on a short way, that of a stream that is
    /// alone doubles once. 0 keeps them as they are.
    pub growth_bytes: u32,
}

impl StreamLimits {
    /// 257 KiB for a stream, which is four items of 64 KiB with their lengths; 1 MiB for a connection,
    /// 8 MiB to grow.
    pub const SHIPPED: Self = Self {
        stream_bytes: 257 * 1024,
        connection_bytes: 1024 * 1024,
        growth_bytes: 8 * 1024 * 1024,
    };

    /// Other numbers of bytes for a stream and for a connection.
    #[must_use]
    pub const fn new(stream_bytes: u32, connection_bytes: u32) -> Self {
        Self {
            stream_bytes,
            connection_bytes,
            ..Self::SHIPPED
        }
    }

    /// True if no item would ever fit.
    #[must_use]
    pub const fn has_zero(self) -> bool {
        self.stream_bytes == 0 || self.connection_bytes == 0
    }

    /// Sets by how many bytes windows may grow. A stream over a way of 50 ms there and back carries
    /// 20 times its window in a second.
    #[must_use]
    pub const fn with_growth_bytes(mut self, bytes: u32) -> Self {
        self.growth_bytes = bytes;
        self
    }
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self::SHIPPED
    }
}
