//! What a user can set about balancing and resilience.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rpc_core::MethodId;

use super::super::pool::ConnectionPool;
use super::Resilience;
use crate::balance::{self, Policy, PowerOfTwoChoices, Subset, UnknownPolicy};
use crate::discovery::Resolvers;
use crate::error::{Error, Kind};
use crate::resilience::{BudgetPolicy, OutlierPolicy};

/// How calls are spread: the [name](balance::policy) of a policy, or one.
pub trait IntoPolicy {
    /// The policy.
    ///
    /// # Errors
    /// There is none of that name.
    fn into_policy(self) -> Result<Arc<dyn Policy>, UnknownPolicy>;
}

impl<P: Policy + 'static> IntoPolicy for P {
    fn into_policy(self) -> Result<Arc<dyn Policy>, UnknownPolicy> {
        Ok(Arc::new(self))
    }
}

impl IntoPolicy for Arc<dyn Policy> {
    fn into_policy(self) -> Result<Arc<dyn Policy>, UnknownPolicy> {
        Ok(self)
    }
}

impl IntoPolicy for &str {
    fn into_policy(self) -> Result<Arc<dyn Policy>, UnknownPolicy> {
        balance::policy(self)
    }
}

/// What a user can set about balancing and resilience.
#[derive(Clone)]
pub(in crate::client) struct Settings {
    /// `None`: those that come with this crate.
    pub(in crate::client) resolvers: Option<Resolvers>,
    pub(in crate::client) policy: Result<Arc<dyn Policy>, UnknownPolicy>,
    /// The part of the list that is used; all of it if there is none.
    pub(in crate::client) subset: Option<Subset>,
    pub(in crate::client) resilience: Resilience,
    pub(in crate::client) methods: HashMap<MethodId, Resilience>,
    pub(in crate::client) budget: BudgetPolicy,
    pub(in crate::client) outliers: Option<OutlierPolicy>,
    pub(in crate::client) hash_metadata: Option<Box<str>>,
    /// Of each server.
    pub(in crate::client) pool: ConnectionPool,
}

impl Settings {
    pub(super) fn policy(&self) -> Result<Arc<dyn Policy>, Error> {
        let policy = self.policy.clone();
        policy.map_err(|unknown| Error::new(Kind::Policy, unknown.to_string()))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resolvers: None,
            policy: Ok(Arc::new(PowerOfTwoChoices)),
            subset: None,
            resilience: Resilience::default(),
            methods: HashMap::new(),
            budget: BudgetPolicy::default(),
            outliers: Some(OutlierPolicy::default()),
            hash_metadata: None,
            pool: ConnectionPool::new(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("policy", &self.policy)
            .field("resilience", &self.resilience)
            .finish_non_exhaustive()
    }
}
