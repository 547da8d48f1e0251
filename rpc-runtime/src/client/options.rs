//! What a user can set, per call and per channel.

use std::sync::Arc;
use std::time::Duration;

use rpc_core::connection::ClientConfig;
use rpc_core::{Codec, Metadata, MetadataError};

use super::remote::Remote;
use super::{Channel, Route};
use crate::error::Error;
use crate::transport::{Connector, Target, connector};

/// Options of a call. Cheap to change on a client: `client.with_timeout(..)`.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    timeout: Option<Duration>,
    metadata: Metadata,
}

impl CallOptions {
    /// No timeout, no metadata.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a call may take.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Adds a pair of metadata to each call.
    ///
    /// # Errors
    /// The key or the value cannot travel.
    pub fn with_metadata(mut self, key: &str, value: &str) -> Result<Self, MetadataError> {
        self.metadata.append(key, value)?;
        Ok(self)
    }

    /// How long a call may take, if it was said.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The metadata of each call.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// Settings of a channel.
#[derive(Clone, Debug)]
pub struct ChannelBuilder {
    codec: Codec,
    message_bytes_max: u32,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    options: CallOptions,
}

impl Default for ChannelBuilder {
    fn default() -> Self {
        Self {
            codec: Codec::default(),
            message_bytes_max: rpc_core::MESSAGE_BYTES_MAX,
            connect_timeout: Self::CONNECT_TIMEOUT,
            handshake_timeout: rpc_core::HANDSHAKE_TIMEOUT,
            options: CallOptions::default(),
        }
    }
}

impl ChannelBuilder {
    /// How long connecting may take unless it is said: 3 seconds.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

    /// The codec of all bodies; the server has to have it too.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The longest message in bytes: replies that are accepted, and requests until the server has
    /// said what it accepts. 4 MiB unless it is said.
    #[must_use]
    pub const fn message_bytes_max(mut self, bytes: u32) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// How long connecting may take.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server may take to accept: 5 seconds unless it is said.
    #[must_use]
    pub const fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// The options of all calls that have none of their own.
    #[must_use]
    pub fn options(mut self, options: CallOptions) -> Self {
        self.options = options;
        self
    }

    /// Connects and waits until the server has accepted.
    ///
    /// # Errors
    /// The target is malformed, nobody listens there, or the server refuses the handshake.
    pub async fn connect(self, target: impl AsRef<str>) -> Result<Channel, Error> {
        let channel = self.connect_lazy(target)?;
        if let Route::Remote(remote) = &*channel.route {
            remote.connect().await?;
        }
        Ok(channel)
    }

    /// A channel that connects when it is first used.
    ///
    /// # Errors
    /// The target is malformed.
    pub fn connect_lazy(self, target: impl AsRef<str>) -> Result<Channel, Error> {
        let target: Target = target.as_ref().parse()?;
        Ok(self.with_connector(connector(&target)))
    }

    /// A channel that connects with a connector of the user's own when it is first used.
    #[must_use]
    pub fn with_connector(self, connector: Arc<dyn Connector>) -> Channel {
        let mut config = ClientConfig::new(self.codec.id().number());
        config.message_bytes_max = self.message_bytes_max;
        config.handshake_timeout = self.handshake_timeout;
        let remote = Remote::new(connector, config, self.codec, self.connect_timeout);
        Channel::new(Route::Remote(remote)).with_options(self.options)
    }
}
