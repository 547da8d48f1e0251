//! What can be set for a channel over several connections, and to all who serve a name.

use std::sync::Arc;

use rpc_core::{MethodId, split_path};

use super::super::balanced::{Balanced, IntoPolicy, Resilience};
use super::super::{Channel, ConnectionPool, Route};
use super::ChannelBuilder;
use crate::balance::Subset;
use crate::discovery::{Resolvers, Watch};
use crate::error::Error;
use crate::resilience::{BudgetPolicy, OutlierPolicy};

impl ChannelBuilder {
    /// How many connections there are to the server, or to each of those who serve a name: one
    /// unless it is said.
    #[must_use]
    pub const fn connection_pool(mut self, pool: ConnectionPool) -> Self {
        self.balancing.pool = pool;
        self
    }

    /// Which names are resolved, and how: `static://`, `dns://` and `registry://` unless it is said.
    #[must_use]
    pub fn resolvers(mut self, resolvers: Resolvers) -> Self {
        self.balancing.resolvers = Some(resolvers);
        self
    }

    /// How calls are spread over the servers of a name: a [policy](crate::balance), or the
    /// [name](crate::balance::policy) of one; power of two choices unless it is said. What is no
    /// name is reported by the method that connects.
    #[must_use]
    pub fn balancing(mut self, policy: impl IntoPolicy) -> Self {
        self.balancing.policy = policy.into_policy();
        self.balances = true;
        self
    }

    /// Which part of a long list is used, so that not every client is connected to every server; all
    /// of it unless it is said.
    #[must_use]
    pub const fn subset(mut self, subset: Subset) -> Self {
        self.balancing.subset = Some(subset);
        self.balances = true;
        self
    }

    /// What is done for calls that fail or are slow.
    ///
    /// A channel that has this set, or anything that follows here, copes with failures as one that
    /// balances does, also if its target is a single server.
    #[must_use]
    pub fn resilience(mut self, resilience: Resilience) -> Self {
        self.balancing.resilience = resilience;
        self.balances = true;
        self
    }

    /// The same for the calls of one method, `Service.method`, instead of what is done for all.
    ///
    /// # Panics
    /// The path has no dot.
    #[must_use]
    pub fn method_resilience(mut self, path: &str, resilience: Resilience) -> Self {
        let (service, name) = split_path(path).expect("a method is written Service.method");
        let method = MethodId::of(service, name);
        self.balancing.methods.insert(method, resilience);
        self.balances = true;
        self
    }

    /// How many extra attempts all calls together may make, retries and hedges.
    #[must_use]
    pub const fn retry_budget(mut self, budget: BudgetPolicy) -> Self {
        self.balancing.budget = budget;
        self.balances = true;
        self
    }

    /// Which servers are taken out for a while because their calls fail; `None` for none.
    #[must_use]
    pub fn outliers(mut self, policy: Option<OutlierPolicy>) -> Self {
        self.balancing.outliers = policy;
        self.balances = true;
        self
    }

    /// The key of the metadata whose value tells which server a call belongs to, for policies that
    /// hash; see [`with_hash_key`](crate::CallOptions::with_hash_key).
    #[must_use]
    pub fn hash_metadata(mut self, key: &str) -> Self {
        self.balancing.hash_metadata = Some(key.into());
        self.balances = true;
        self
    }

    /// The resolvers that were set.
    pub(crate) const fn own_resolvers(&self) -> Option<&Resolvers> {
        self.balancing.resolvers.as_ref()
    }

    /// True if something was set that only a channel that balances can do.
    pub(crate) const fn balances(&self) -> bool {
        self.balances
    }

    /// A channel to all who serve a name.
    pub(crate) fn with_watch(self, watch: Watch) -> Result<Channel, Error> {
        let terms = self.terms();
        let balanced = Balanced::start(watch, self.balancing, terms)?;
        let route = Route::Balanced(Arc::new(balanced));
        Ok(Channel::new(route, self.settings, self.options))
    }
}
