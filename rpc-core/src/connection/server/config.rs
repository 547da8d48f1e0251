//! What a server offers on a connection.

use std::time::Duration;

use crate::StreamLimits;
use crate::connection::KeepAlive;

/// What a server offers on a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The codecs supported, by id and name.
    pub codecs: Vec<(u8, String)>,
    /// The wire names of the services.
    pub services: Vec<String>,
    /// The longest request that is accepted, in bytes.
    pub message_bytes_max: u32,
    /// How many calls may be in flight on the connection.
    pub calls_max: u32,
    /// How much of streams is accepted before it is consumed.
    pub stream_limits: StreamLimits,
    /// How many streams there may be on the connection, in both directions.
    pub streams_max: u32,
    /// How long a stream may be without items and credit before its call is ended; `None` is for
    /// ever. An idle stream is noticed after once to twice this time.
    pub stream_idle_timeout: Option<Duration>,
    /// How long a client may take to say hello.
    pub handshake_timeout: Duration,
    /// How to find out that the client has gone; `None` leaves that to the transport.
    pub keep_alive: Option<KeepAlive>,
    /// How long the connection may be without calls before it is closed; `None` is for ever.
    pub idle_timeout: Option<Duration>,
}

impl ServerConfig {
    /// The shipped limits with these codecs and services.
    #[must_use]
    pub const fn new(codecs: Vec<(u8, String)>, services: Vec<String>) -> Self {
        Self {
            codecs,
            services,
            message_bytes_max: crate::MESSAGE_BYTES_MAX,
            calls_max: crate::CALLS_PER_CONNECTION_MAX,
            stream_limits: StreamLimits::SHIPPED,
            streams_max: crate::STREAMS_PER_CONNECTION_MAX,
            stream_idle_timeout: None,
            handshake_timeout: crate::HANDSHAKE_TIMEOUT,
            keep_alive: Some(KeepAlive::SHIPPED),
            idle_timeout: Some(crate::IDLE_TIMEOUT),
        }
    }
}
