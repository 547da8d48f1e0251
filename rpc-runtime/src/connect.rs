//! From one string to a channel: is it a place, or a name to be resolved?
//!
//! Why not in `client`? The schemes that come with this crate include that of the registry, which is
//! itself a client.

use tokio::runtime::Handle;

use crate::client::{Channel, ChannelBuilder};
use crate::discovery::{Endpoint, Resolvers, StaticList};
use crate::error::{Error, Kind};
use crate::registry;
use crate::transport::Target;

impl Channel {
    /// Connects to a target, for example `tcp://127.0.0.1:7000`, or to whoever serves a name, for
    /// example `dns://greeter:7000`; waits until a server has accepted.
    ///
    /// # Errors
    /// The target is malformed, nobody listens there, or the server refuses the handshake; the name
    /// cannot be resolved.
    pub async fn connect(target: impl AsRef<str>) -> Result<Self, Error> {
        Self::builder().connect(target).await
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
    pub async fn connect(self, target: impl AsRef<str>) -> Result<Channel, Error> {
        let channel = self.connect_lazy(target)?;
        channel.ready().await?;
        Ok(channel)
    }

    /// A channel that connects when it is first used. A name is followed at once.
    ///
    /// # Errors
    /// The target is malformed; a limit is zero; there is no such balancing policy; a name is given
    /// outside of a Tokio runtime.
    pub fn connect_lazy(self, target: impl AsRef<str>) -> Result<Channel, Error> {
        self.connect_to(target.as_ref())
    }

    fn connect_to(self, target: &str) -> Result<Channel, Error> {
        self.check()?;
        let resolvers = self.own_resolvers().cloned();
        let resolvers = resolvers.unwrap_or_else(registry::resolvers);
        if resolvers.knows(target) {
            check_runtime(target)?;
            return self.with_watch(resolvers.watch(target)?);
        }
        if self.balances() {
            check_runtime(target)?;
            return self.with_watch(alone(target)?.watch(&alone_name(target))?);
        }
        let target: Target = target.parse()?;
        let connector = self.connector(&target);
        Ok(self.with_connector(connector))
    }
}

/// A fleet of one.
fn alone(target: &str) -> Result<Resolvers, Error> {
    Resolvers::default().with("static", StaticList::new([Endpoint::new(target)?]))
}

fn alone_name(target: &str) -> String {
    format!("static://{}", target.replacen("://", ":", 1))
}

fn check_runtime(name: &str) -> Result<(), Error> {
    let is_within = Handle::try_current().is_ok();
    let mistake = || format!("{name} is to be followed, which takes a Tokio runtime to run in");
    is_within
        .then_some(())
        .ok_or_else(|| Error::new(Kind::Resolve, mistake()))
}
