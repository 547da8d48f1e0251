//! This project with what has a switch switched off.

fn main() {
    peers_harness::run::<peer_ours::Ours<peer_ours::Off>>();
}
