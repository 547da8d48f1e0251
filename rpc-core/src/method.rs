//! What a service is, as data: names, method ids, argument and reply types as the user wrote them.

use std::fmt;
use std::time::Duration;

/// Names a method on the wire: a stable hash of `Service.method`.
///
/// A hash and not an index: reordering or adding methods does not change the ids of the others.
/// Two names with the same id are a compile error inside one trait and a registration error
/// across the services of one server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodId(u32);

impl MethodId {
    /// The id of `service.method`: FNV-1a (32 bits) over `service`, a dot, `method`.
    #[must_use]
    pub const fn of(service: &str, method: &str) -> Self {
        let hash = fnv1a(FNV_OFFSET, service.as_bytes());
        let hash = fnv1a(hash, b".");
        Self(fnv1a(hash, method.as_bytes()))
    }

    /// The id as it travels.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// The number that travels.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MethodId({:#010x})", self.0)
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// FNV-1a parameters: Fowler, Noll, Vo; draft-eastlake-fnv.
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

const fn fnv1a(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(FNV_PRIME);
        i += 1;
    }
    hash
}

/// A service as its trait declares it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServiceDescriptor {
    /// The name on the wire; may contain dots (`pkg.v1.Arith`).
    pub name: &'static str,
    /// The doc comment of the trait, lines joined with `\n`.
    pub docs: &'static str,
    /// The methods in the order of the trait.
    pub methods: &'static [MethodDescriptor],
}

impl ServiceDescriptor {
    /// A service with these methods.
    #[must_use]
    pub const fn new(name: &'static str, methods: &'static [MethodDescriptor]) -> Self {
        Self {
            name,
            docs: "",
            methods,
        }
    }

    /// Sets the doc comment.
    #[must_use]
    pub const fn with_docs(mut self, docs: &'static str) -> Self {
        self.docs = docs;
        self
    }

    /// The method with this wire name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&'static MethodDescriptor> {
        self.methods.iter().find(|m| m.name == name)
    }
}

/// One method of a service.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MethodDescriptor {
    /// The wire name of the service.
    pub service: &'static str,
    /// The wire name of the method.
    pub name: &'static str,
    /// Hash of both names.
    pub id: MethodId,
    /// The doc comment of the method, lines joined with `\n`.
    pub docs: &'static str,
    /// The names of the arguments, in order.
    pub argument_names: &'static [&'static str],
    /// The types of the arguments as written, in order.
    pub argument_types: &'static [&'static str],
    /// The whole return type as written, for example `rpc::Result<String>`.
    pub reply: &'static str,
    /// The caller does not wait for an answer.
    pub oneway: bool,
    /// Running it twice is the same as running it once: it may be retried.
    pub idempotent: bool,
    /// The time a call of this method may take if the caller says nothing.
    pub timeout: Option<Duration>,
    /// The argument, by its place, that tells which server a call belongs to.
    pub hash_argument: Option<usize>,
}

impl MethodDescriptor {
    /// A method without arguments; the `with_` methods add what the trait says.
    #[must_use]
    pub const fn new(service: &'static str, name: &'static str) -> Self {
        Self {
            service,
            name,
            id: MethodId::of(service, name),
            docs: "",
            argument_names: &[],
            argument_types: &[],
            reply: "",
            oneway: false,
            idempotent: false,
            timeout: None,
            hash_argument: None,
        }
    }

    /// Sets the doc comment.
    #[must_use]
    pub const fn with_docs(mut self, docs: &'static str) -> Self {
        self.docs = docs;
        self
    }

    /// Sets names and types of the arguments; both slices have the same length.
    #[must_use]
    pub const fn with_arguments(
        mut self,
        names: &'static [&'static str],
        types: &'static [&'static str],
    ) -> Self {
        assert!(names.len() == types.len());
        self.argument_names = names;
        self.argument_types = types;
        self
    }

    /// Sets the return type as written.
    #[must_use]
    pub const fn with_reply(mut self, reply: &'static str) -> Self {
        self.reply = reply;
        self
    }

    /// Marks the method as oneway.
    #[must_use]
    pub const fn with_oneway(mut self) -> Self {
        self.oneway = true;
        self
    }

    /// Marks the method as idempotent.
    #[must_use]
    pub const fn with_idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets the default timeout.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Names the argument, by its place, that tells which server a call belongs to.
    #[must_use]
    pub const fn with_hash_argument(mut self, index: usize) -> Self {
        assert!(index < self.argument_names.len());
        self.hash_argument = Some(index);
        self
    }
}

impl fmt::Display for MethodDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.name)
    }
}

/// Splits `pkg.v1.Arith.add` at its **last** dot into service and method.
///
/// `None` when there is no dot or either part is empty.
#[must_use]
pub fn split_path(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.rsplit_once('.')?;
    (!service.is_empty() && !method.is_empty()).then_some((service, method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_published_hash() {
        // Any FNV-1a implementation gives these; the wire depends on them.
        assert_eq!(MethodId::of("", "").number(), fnv1a(FNV_OFFSET, b"."));
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0xbf9c_f968);
        assert_eq!(
            MethodId::of("foo", "bar").number(),
            fnv1a(FNV_OFFSET, b"foo.bar")
        );
    }

    #[test]
    fn s1_11_a_path_splits_at_the_last_dot() {
        assert_eq!(
            split_path("pkg.v1.Arith.add"),
            Some(("pkg.v1.Arith", "add"))
        );
        for ill_formed in ["", "add", ".add", "Arith.", "."] {
            assert_eq!(split_path(ill_formed), None, "{ill_formed:?}");
        }
    }
}
