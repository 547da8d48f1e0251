//! volo-thrift, multiplexed.

fn main() {
    peers_harness::run::<peer_volo::Volo<true>>();
}
