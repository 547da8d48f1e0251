//! Fixed: one backend, and no other while it is there.

use rpc_runtime::balance::{Backends, Fixed, Pick};

use super::fleet::{backends, secs, tally};

#[test]
fn the_first_gets_all_calls_and_the_second_when_it_is_closed() {
    let backends = Backends::new(&Fixed::first(), backends(3), 9);
    assert_eq!(tally(&backends, 10), [10, 0, 0]);
    backends.list()[0].set_unreachable(secs(100));
    assert_eq!(tally(&backends, 10), [0, 10, 0]);
    backends.list()[0].set_reachable();
    assert_eq!(tally(&backends, 10), [10, 0, 0]);
}

#[test]
fn a_named_server_is_picked_or_none_is() {
    let named = Backends::new(&Fixed::to("s1"), backends(3), 0);
    named.list()[1].eject(secs(100));
    assert_eq!(tally(&named, 10), [0, 10, 0]);
    let missing = Backends::new(&Fixed::to("s7"), backends(3), 0);
    assert_eq!(missing.pick(&Pick::new(secs(1), 0)), None);
}
