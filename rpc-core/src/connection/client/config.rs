//! What a client wants of a connection.

use std::time::Duration;

use crate::StreamLimits;
use crate::connection::KeepAlive;

/// What a client wants of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The id of the codec of all bodies.
    pub codec: u8,
    /// The longest reply that is accepted, in bytes.
    pub message_bytes_max: u32,
    /// How much of streams is accepted before it is consumed.
    pub stream_limits: StreamLimits,
    /// How long the server may take to acknowledge.
    pub handshake_timeout: Duration,
    /// How to find out that the server has gone; `None` leaves that to the transport.
    pub keep_alive: Option<KeepAlive>,
    /// How long the connection may be without calls before it is closed; `None` is for ever.
    pub idle_timeout: Option<Duration>,
}

impl ClientConfig {
    /// The shipped limits with this codec.
    #[must_use]
    pub const fn new(codec: u8) -> Self {
        Self {
            codec,
            message_bytes_max: crate::MESSAGE_BYTES_MAX,
            stream_limits: StreamLimits::SHIPPED,
            handshake_timeout: crate::HANDSHAKE_TIMEOUT,
            keep_alive: Some(KeepAlive::SHIPPED),
            idle_timeout: None,
        }
    }
}
