//! volo-thrift with its pool of connections, its default.

fn main() {
    peers_harness::run::<peer_volo::Volo<false>>();
}
