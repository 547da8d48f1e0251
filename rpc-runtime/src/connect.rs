//! From one string to a channel: is it a place, or a name to be resolved?
//!
//! Why not in `client`? The schemes that come with this crate include that of the registry, which is
//! itself a client.

#[cfg(feature = "fleet")]
mod names;

use std::future::Future;

use crate::boxed::Boxed;
use crate::client::{Channel, ChannelBuilder};
use crate::error::Error;
use crate::transport::Target;

impl Channel {
    /// Connects to a target, for example `tcp://127.0.0.1:7000`, or to whoever serves a name, for
    /// example `dns://greeter:7000`; waits until a server has accepted.
    ///
    /// # Errors
    /// The target is malformed, nobody listens there, or the server refuses the handshake; the name
    /// cannot be resolved.
    pub fn connect(target: impl AsRef<str>) -> impl Future<Output = Result<Self, Error>> + Send {
        Self::builder().connect(target)
    }

    /// A channel that connects when it is first used. A name is followed at once.
    ///
    /// # Errors
    /// The target is malformed; a name is given outside of a Tokio runtime.
    pub fn connect_lazy(target: impl AsRef<str>) -> Result<Self, Error> {
        Self::builder().connect_lazy(target)
    }
}

impl ChannelBuilder {
    /// Connects and waits until a server has accepted.
    ///
    /// # Errors
    /// The target is malformed, a limit is zero, nobody listens there, or the server refuses the
    /// handshake; the name cannot be resolved; there is no such balancing policy.
    pub fn connect(
        self,
        target: impl AsRef<str>,
    ) -> impl Future<Output = Result<Channel, Error>> + Send {
        self.connect_now(target.as_ref().to_owned())
    }

    /// A channel that connects when it is first used. A name is followed at once.
    ///
    /// # Errors
    /// The target is malformed; a limit is zero; there is no such balancing policy; a name is given
    /// outside of a Tokio runtime.
    pub fn connect_lazy(self, target: impl AsRef<str>) -> Result<Channel, Error> {
        self.connect_to(target.as_ref())
    }

    fn connect_now(self, target: String) -> Boxed<'static, Result<Channel, Error>> {
        Box::pin(async move {
            let channel = self.connect_to(&target)?;
            channel.ready().await?;
            Ok(channel)
        })
    }

    fn connect_to(self, target: &str) -> Result<Channel, Error> {
        self.check()?;
        #[cfg(feature = "fleet")]
        if let Some(watch) = names::watch(&self, target)? {
            return self.with_watch(watch);
        }
        let target: Target = target.parse()?;
        let connector = self.connector(&target);
        Ok(self.with_connector(connector))
    }
}
