//! A directory in etcd 3, for fleets that have one.
//!
//! Why its JSON gateway and not its gRPC? Every member serves both on the same port. For the gateway
//! an HTTP/1.1 client is enough: ten small crates, and none of them needs a compiler of another
//! language; the crates for gRPC are a hundred, and one does.
//!
//! An entry is a key, `prefix/name/address`, with an [`Instance`](super::Instance) in JSON as its
//! value, bound to a lease. Clients list the keys of a name and watch them from that revision on.

mod api;
mod cluster;
mod http;
mod registration;
mod source;

pub use registration::EtcdRegistry;
pub use source::EtcdResolver;

/// What all keys of a name begin with.
fn prefix_of(folder: &str, name: &str) -> String {
    match folder {
        "" => format!("{name}/"),
        folder => format!("{folder}/{name}/"),
    }
}
