//! This project with a connection for each call in flight.

fn main() {
    peers_harness::run::<peer_ours::Ours<peer_ours::Pooled>>();
}
