//! A part of a large fleet, so that not every client is connected to every backend.

use super::backends::keep_weighty;
use super::{Backend, hash_key};

/// Which part of a fleet a client uses.
#[derive(Clone, Copy, Debug)]
pub struct Subset {
    size: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Random { seed: u64 },
    Even { client: usize, clients: usize },
}

impl Subset {
    /// So many backends, at least one, chosen at random by the seed of the client. A backend that comes or goes
    /// changes no more than one of them.
    ///
    /// Source: gRPC A68, rendezvous hashing (Thaler, Ravishankar, 1996).
    #[must_use]
    pub const fn random(size: usize, seed: u64) -> Self {
        let kind = Kind::Random { seed };
        Self::sized(size, kind)
    }

    /// So many backends, at least one, for client number `client` of `clients`, counted from 0, so that each
    /// backend has the same number of clients, or one more. A backend that comes or goes moves the
    /// parts of most clients by one.
    ///
    /// Source: Finagle, deterministic aperture: clients and backends on one ring.
    #[must_use]
    pub const fn even(size: usize, client: usize, clients: usize) -> Self {
        let kind = Kind::Even { client, clients };
        Self::sized(size, kind)
    }

    const fn sized(size: usize, kind: Kind) -> Self {
        // A part that is empty would be a client without servers.
        let size = if size == 0 { 1 } else { size };
        Self { size, kind }
    }

    /// The part of these backends. All of them, if they are no more than the part. Those of weight 0
    /// are left out, unless all have 0: they get no calls, and would be a part that is of no use.
    #[must_use]
    pub fn of(&self, mut backends: Vec<Backend>) -> Vec<Backend> {
        keep_weighty(&mut backends);
        if backends.len() <= self.size {
            return backends;
        }
        match self.kind {
            Kind::Random { seed } => sort_by_hash(&mut backends, seed),
            Kind::Even { client, clients } => {
                // Not by address: neighbours there often share a rack.
                sort_by_hash(&mut backends, 0);
                let client = client % clients.max(1);
                let start = client as u128 * backends.len() as u128 / clients.max(1) as u128;
                backends.rotate_left(start as usize);
            }
        }
        backends.truncate(self.size);
        backends
    }
}

fn sort_by_hash(backends: &mut [Backend], seed: u64) {
    backends.sort_by_cached_key(|backend| {
        let mut bytes = backend.address().as_bytes().to_vec();
        bytes.extend_from_slice(&seed.to_le_bytes());
        hash_key(&bytes)
    });
}
