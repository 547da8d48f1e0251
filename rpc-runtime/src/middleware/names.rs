//! What the method of a call is called.

use std::sync::Arc;

use rpc_core::MethodDescriptor;

/// The wire names of a method. Those of most are known to the program and need not be copied.
#[derive(Clone, Debug)]
pub(crate) enum Names {
    /// As the trait has them.
    Own(&'static MethodDescriptor),
    /// A service under another name, or a method that is called by name.
    Given(Arc<(String, String)>),
}

impl Names {
    pub(crate) fn given(service: &str, method: &str) -> Self {
        Self::Given(Arc::new((service.to_owned(), method.to_owned())))
    }

    /// Of a method whose service may be known by another name.
    pub(crate) fn within(service: &str, method: &'static MethodDescriptor) -> Self {
        match service == method.service {
            true => Self::Own(method),
            false => Self::given(service, method.name),
        }
    }

    /// True if these are copies of one.
    #[inline]
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(one), Self::Own(other)) => std::ptr::eq(*one, *other),
            (Self::Given(one), Self::Given(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    #[inline]
    pub(crate) fn service(&self) -> &str {
        match self {
            Self::Own(method) => method.service,
            Self::Given(names) => &names.0,
        }
    }

    #[inline]
    pub(crate) fn method(&self) -> &str {
        match self {
            Self::Own(method) => method.name,
            Self::Given(names) => &names.1,
        }
    }
}
