//! Plain functions as methods.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use rpc_core::codec::DecodeArguments;
use rpc_core::{Code, MethodDescriptor, ServiceDescriptor, split_path};

use super::{Incoming, Service};
use crate::__private::Outcome;

/// A function that is called by name, like a method of a service with one method.
pub(crate) struct Function<H, A> {
    descriptor: &'static ServiceDescriptor,
    handler: Arc<H>,
    arguments: std::marker::PhantomData<fn(A)>,
}

impl<H, A> Function<H, A> {
    /// A function under `Service.method`; `None` if the path has no dot.
    ///
    /// Its descriptor lives as long as the process, like that of a trait.
    pub(crate) fn new(path: &'static str, handler: H) -> Option<Self> {
        let (service, name) = split_path(path)?;
        let method = MethodDescriptor::new(service, name);
        let methods: &'static [MethodDescriptor] = Box::leak(Box::new([method]));
        let descriptor = Box::leak(Box::new(ServiceDescriptor::new(service, methods)));
        Some(Self {
            descriptor,
            handler: Arc::new(handler),
            arguments: std::marker::PhantomData,
        })
    }
}

impl<H, A, F, R> Service for Function<H, A>
where
    H: Fn(A) -> F + Send + Sync + 'static,
    A: DecodeArguments + 'static,
    F: Future<Output = R> + Send + 'static,
    R: Outcome,
{
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.descriptor
    }

    fn dispatch(&self, call: Incoming<'_>) {
        let method = &self.descriptor.methods[0];
        if call.method_id() != method.id {
            return call.unknown_method();
        }
        let call_it = |handler: Arc<H>, arguments| {
            let future = handler(arguments);
            async move { (future.await, handler) }
        };
        call.unary::<A, H, R, _>(method, |_| Code::Unknown, &self.handler, call_it);
    }

    fn is_constant(&self) -> bool {
        true
    }
}

impl<H, A> fmt::Debug for Function<H, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("descriptor", &self.descriptor)
            .finish_non_exhaustive()
    }
}
