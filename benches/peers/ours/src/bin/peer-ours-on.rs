//! This project with an interceptor on each side.

fn main() {
    peers_harness::run::<peer_ours::Ours<peer_ours::On>>();
}
