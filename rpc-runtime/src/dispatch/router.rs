//! Which handler a method id means.

use std::fmt;
use std::sync::Arc;

use rpc_core::{MethodDescriptor, MethodId, ServiceDescriptor};

use super::methods::Methods;
use super::stats::{Counters, MethodStats};
use super::{Admission, Service};
use crate::error::{Error, Kind};
use crate::middleware::{Interceptor, Interceptors, Names};

/// The services of a server.
pub(crate) struct Router {
    methods: Methods<Arc<Method>>,
    admission: Arc<Admission>,
    pub(super) interceptors: Interceptors,
    services: Vec<(String, &'static ServiceDescriptor)>,
}

/// A method that can be called.
pub(crate) struct Method {
    pub(super) service: Arc<dyn Service>,
    /// With that which the service is registered under.
    pub(super) names: Names,
    pub(super) descriptor: &'static MethodDescriptor,
    pub(super) counters: Counters,
    pub(super) admission: Arc<Admission>,
}

impl Method {
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.names.service(), self.names.method())
    }
}

impl Router {
    #[inline]
    pub(crate) fn find(&self, id: MethodId) -> Option<&Arc<Method>> {
        self.methods.find(id)
    }

    /// True if interceptors see every call.
    #[inline]
    pub(crate) fn intercepts(&self) -> bool {
        !self.interceptors.is_empty()
    }

    /// How many calls run, and how many were refused.
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The wire names of the services, in order of registration.
    pub(crate) fn service_names(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|(name, _)| &**name)
    }

    pub(crate) fn has_service(&self, name: &str) -> bool {
        self.service_names().any(|service| service == name)
    }

    /// Names and descriptors of the services, in order of registration.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&str, &'static ServiceDescriptor)> {
        self.services
            .iter()
            .map(|(name, descriptor)| (&**name, *descriptor))
    }

    /// What happened so far, sorted by path.
    pub(crate) fn stats(&self) -> Vec<MethodStats> {
        let mut stats = Vec::new();
        for method in self.methods.iter() {
            let snapshot = method.counters.snapshot(method.path());
            let place = stats.partition_point(|s: &MethodStats| s.path < snapshot.path);
            stats.insert(place, snapshot);
        }
        stats
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.service_names().collect();
        f.debug_struct("Router")
            .field("services", &names)
            .finish_non_exhaustive()
    }
}

/// What a method is, before the router is built.
struct Registered {
    id: MethodId,
    service: Arc<dyn Service>,
    service_name: String,
    descriptor: &'static MethodDescriptor,
}

impl Registered {
    fn path(&self) -> String {
        format!("{}.{}", self.service_name, self.descriptor.name)
    }
}

/// Collects services; the first mistake is kept until [`build`](Self::build).
#[derive(Default)]
pub(crate) struct RouterBuilder {
    methods: Vec<Registered>,
    services: Vec<(String, &'static ServiceDescriptor)>,
    interceptors: Interceptors,
    mistake: Option<Error>,
}

impl RouterBuilder {
    /// Adds a service under the name of its trait, or under another.
    pub(crate) fn add(&mut self, service: Arc<dyn Service>, name: Option<&str>) {
        let descriptor = service.descriptor();
        let name = name.unwrap_or(descriptor.name);
        if self.services.iter().any(|(other, _)| other == name) {
            return self.refuse(format!("service already registered: {name}"));
        }
        self.services.push((name.to_owned(), descriptor));
        for method in descriptor.methods {
            self.add_method(&service, name, method);
        }
    }

    /// Adds the methods of a service to those registered under its name before: plain functions.
    pub(crate) fn extend(&mut self, service: Arc<dyn Service>) {
        let descriptor = service.descriptor();
        if !self
            .services
            .iter()
            .any(|(other, _)| other == descriptor.name)
        {
            self.services.push((descriptor.name.to_owned(), descriptor));
        }
        for method in descriptor.methods {
            self.add_method(&service, descriptor.name, method);
        }
    }

    pub(crate) fn intercept(&mut self, interceptor: impl Interceptor) {
        self.interceptors.add(interceptor);
    }

    /// A router that runs at most `calls_max` calls at once.
    pub(crate) fn build(self, calls_max: usize) -> Result<Router, Error> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let admission = Arc::new(Admission::new(calls_max));
        let services = self.services.into_iter();
        let services = services.map(|(name, descriptor)| {
            let descriptor = complete(&name, descriptor, &self.methods);
            (name, descriptor)
        });
        let services = services.collect();
        let method = |registered: Registered| {
            let method = Method {
                service: registered.service,
                names: Names::within(&registered.service_name, registered.descriptor),
                descriptor: registered.descriptor,
                counters: Counters::default(),
                admission: admission.clone(),
            };
            (registered.id, Arc::new(method))
        };
        Ok(Router {
            methods: Methods::new(self.methods.into_iter().map(method).collect()),
            admission: admission.clone(),
            interceptors: self.interceptors,
            services,
        })
    }

    /// Keeps the first mistake for [`build`](Self::build).
    pub(crate) fn refuse(&mut self, mistake: String) {
        self.mistake
            .get_or_insert_with(|| Error::new(Kind::Registration, mistake));
    }

    fn add_method(
        &mut self,
        service: &Arc<dyn Service>,
        name: &str,
        descriptor: &'static MethodDescriptor,
    ) {
        let id = MethodId::of(name, descriptor.name);
        let method = Registered {
            id,
            service: service.clone(),
            service_name: name.to_owned(),
            descriptor,
        };
        let Some(taken) = self.methods.iter().find(|other| other.id == id) else {
            return self.methods.push(method);
        };
        let (ours, theirs) = (method.path(), taken.path());
        self.refuse(if ours == theirs {
            format!("method already registered: {ours}")
        } else {
            format!("{ours} and {theirs} have the same id {id}: rename one of them")
        });
    }
}

/// The descriptor of a service with those plain functions that were added to it, if there are any.
///
/// It lives as long as the process, like that of a trait.
fn complete(
    name: &str,
    descriptor: &'static ServiceDescriptor,
    methods: &[Registered],
) -> &'static ServiceDescriptor {
    let methods = methods.iter().filter(|method| method.service_name == name);
    let methods: Vec<_> = methods.map(|method| *method.descriptor).collect();
    if methods.len() == descriptor.methods.len() {
        return descriptor;
    }
    let joint = ServiceDescriptor::new(descriptor.name, Vec::leak(methods));
    Box::leak(Box::new(joint.with_docs(descriptor.docs)))
}
