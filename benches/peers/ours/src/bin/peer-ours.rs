//! This project.

fn main() {
    peers_harness::run::<peer_ours::Ours<peer_ours::Promised>>();
}
