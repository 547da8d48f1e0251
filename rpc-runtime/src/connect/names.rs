//! Names, which somebody follows.

use tokio::runtime::Handle;

use crate::client::ChannelBuilder;
use crate::discovery::{Endpoint, Resolvers, StaticList, Watch};
use crate::error::{Error, Kind};
use crate::registry;
use crate::transport::Target;

/// Follows a name. `None` if it is a place, and nothing was set that takes a fleet.
pub(super) fn watch(builder: &ChannelBuilder, target: &str) -> Result<Option<Watch>, Error> {
    let resolvers = builder.own_resolvers().cloned();
    let resolvers = resolvers.unwrap_or_else(registry::resolvers);
    if resolvers.knows(target) {
        check_runtime(target)?;
        return Ok(Some(resolvers.watch(target)?));
    }
    if let Err(error) = target.parse::<Target>()
        && error.is_unknown_scheme()
    {
        let etcd = if cfg!(feature = "etcd") {
            ""
        } else {
            ", and etcd with the feature `etcd`"
        };
        let mistake = format!("{error}, and for names {}{etcd}", resolvers.known());
        return Err(Error::new(Kind::UnknownScheme, mistake));
    }
    if builder.balances() {
        check_runtime(target)?;
        return Ok(Some(alone(target)?.watch(&alone_name(target))?));
    }
    Ok(None)
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
