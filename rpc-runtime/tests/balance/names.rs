//! Policies by name.

use rpc_runtime::balance::{NAMES, policy};

/// S3-10, S1-28: every way of choosing has a name.
#[test]
fn s3_10_every_name_gives_its_policy() {
    for (name, shown) in [
        ("p2c", "PowerOfTwoChoices"),
        ("round_robin", "RoundRobin"),
        ("random", "Random"),
        ("weighted_round_robin", "WeightedRoundRobin"),
        ("least_request", "LeastRequest { choices: 2 }"),
        ("least_request:5", "LeastRequest { choices: 5 }"),
        ("ring_hash", "RingHash"),
        ("reported_load", "ReportedLoad"),
        (
            "nearest:52.5,13.4",
            "Nearest { here: Position { latitude: 52.5, longitude: 13.4 } }",
        ),
        (
            "locality:a",
            "Locality { zone: \"a\", inner: PowerOfTwoChoices }",
        ),
        (
            "locality:a/round_robin",
            "Locality { zone: \"a\", inner: RoundRobin }",
        ),
        ("fixed", "Fixed { address: None }"),
        (
            "fixed:[::1]:7000",
            "Fixed { address: Some(\"[::1]:7000\") }",
        ),
    ] {
        assert_eq!(format!("{:?}", policy(name).unwrap()), shown);
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_names_there_are() {
    for text in ["", "P2C", "best", "p2c ", ":p2c", "locality:a/best"] {
        let message = policy(text).unwrap_err().to_string();
        assert!(NAMES.iter().all(|name| message.contains(name)), "{message}");
    }
}

#[test]
fn a_wrong_argument_is_refused_with_the_right_form() {
    for (text, expected) in [
        ("p2c:3", "p2c"),
        ("least_request:1", "least_request[:CHOICES]"),
        ("least_request:many", "least_request[:CHOICES]"),
        ("nearest", "nearest:LATITUDE,LONGITUDE"),
        ("nearest:52.5", "nearest:LATITUDE,LONGITUDE"),
        ("nearest:91,0", "nearest:LATITUDE,LONGITUDE"),
        ("nearest:NaN,0", "nearest:LATITUDE,LONGITUDE"),
        ("locality", "locality:ZONE[/POLICY]"),
        ("locality:", "locality:ZONE[/POLICY]"),
        ("fixed:", "fixed[:ADDRESS]"),
    ] {
        let message = policy(text).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("{text:?} is no balancing policy: it should read {expected}")
        );
    }
}
