//! Nearest: by the way along the surface of the earth.

use rpc_runtime::balance::{Backend, Backends, Nearest, Pick};

use super::fleet::{secs, tally};

fn city(name: &str, latitude: &str, longitude: &str) -> Backend {
    Backend::new(name)
        .with_tag("latitude", latitude)
        .with_tag("longitude", longitude)
}

/// From Berlin.
fn cities() -> Backends {
    let list = vec![
        city("tokyo", "35.68", "139.69"),
        city("paris", "48.85", "2.35"),
        city("warsaw-1", "52.23", "21.01"),
        Backend::new("nowhere"),
        city("warsaw-2", "52.23", "21.01"),
        city("broken", "north", "east"),
    ];
    Backends::new(&Nearest::to(52.52, 13.40), list, 0)
}

/// S3-10, geo nearest.
#[test]
fn s3_10_the_nearest_open_server_is_picked_and_any_of_those_at_one_place() {
    let backends = cities();
    let counts = tally(&backends, 1000);
    assert_eq!(counts[2] + counts[4], 1000);
    assert!(counts[2] > 400 && counts[4] > 400, "{counts:?}");
}

#[test]
fn the_next_nearest_follow_and_those_without_a_place_come_last() {
    let backends = cities();
    let mut tried = Vec::new();
    for random in 0..6 {
        let picked = backends
            .pick(&Pick::new(secs(1), random).with_tried(&tried))
            .unwrap();
        tried.push(backends.list()[picked.index].clone());
    }
    let order: Vec<_> = tried.iter().map(|backend| backend.address()).collect();
    assert_eq!(order[2..4], ["paris", "tokyo"]);
}

#[test]
fn the_way_across_the_date_line_is_short() {
    let list = vec![
        city("hawaii", "21.3", "-157.8"),
        city("singapore", "1.35", "103.8"),
    ];
    let backends = Backends::new(&Nearest::to(-18.1, 178.4), list, 0);
    assert_eq!(tally(&backends, 10), [10, 0]);
}
