//! Weights from reports (gRPC A58), by the clock.

use std::time::Duration;

use rpc_runtime::balance::{Backends, LoadReport, Pick, ReportedLoad};

use super::fleet::{backends, ms, secs};

fn counts(backends: &Backends, now: Duration) -> Vec<u64> {
    let mut counts = vec![0; backends.list().len()];
    for random in 0..9000 {
        counts[backends.pick(&Pick::new(now, random)).unwrap().index] += 1;
    }
    counts
}

/// Reports each second, from `from` to `to`: 100 calls a second at these utilizations.
fn report(backends: &Backends, from: u64, to: u64, utilizations: &[f64]) {
    for second in from..=to {
        for (backend, utilization) in backends.list().iter().zip(utilizations) {
            backend.report(secs(second), LoadReport::new(100.0, *utilization));
        }
    }
}

/// S3-10, server load: who reports twice the load gets half the calls.
#[test]
fn s3_10_twice_the_reported_load_is_half_the_calls() {
    let backends = Backends::new(&ReportedLoad::default(), backends(3), 5);
    report(&backends, 1, 12, &[0.2, 0.4, 0.4]);
    let counts = counts(&backends, secs(12));
    for (count, expected) in counts.iter().zip([4500.0, 2250.0, 2250.0]) {
        assert!((*count as f64 / expected - 1.0).abs() < 0.01, "{counts:?}");
    }
}

#[test]
fn the_first_ten_seconds_and_what_is_older_than_three_minutes_do_not_count() {
    let backends = Backends::new(&ReportedLoad::default(), backends(3), 5);
    report(&backends, 1, 10, &[0.1, 0.4, 0.4]);
    assert_eq!(counts(&backends, secs(10)), [3000; 3], "blackout");
    report(&backends, 11, 11, &[0.1, 0.4, 0.4]);
    assert!(counts(&backends, secs(11))[0] > 5900);
    assert!(counts(&backends, secs(11 + 179))[0] > 5900);
    assert_eq!(counts(&backends, secs(11 + 181)), [3000; 3], "expired");
    report(&backends, 200, 205, &[0.1, 0.4, 0.4]);
    assert_eq!(counts(&backends, secs(205)), [3000; 3], "blackout again");
}

#[test]
fn a_server_without_reports_counts_as_the_mean_and_one_report_counts_for_nothing() {
    let backends = Backends::new(&ReportedLoad::default(), backends(3), 5);
    report(&backends, 1, 20, &[0.2]);
    assert_eq!(counts(&backends, secs(20)), [3000; 3]);
    report(&backends, 21, 40, &[0.2, 0.6]);
    let counts = counts(&backends, secs(40));
    // Weights 6, 2 and, unknown, 4.
    for (count, expected) in counts.iter().zip([4500.0, 1500.0, 3000.0]) {
        assert!((*count as f64 / expected - 1.0).abs() < 0.01, "{counts:?}");
    }
}

#[test]
fn failed_calls_count_as_work_and_nonsense_as_nothing() {
    let backends = Backends::new(&ReportedLoad::default(), backends(2), 5);
    for second in 1..=20 {
        let failing = LoadReport::new(100.0, 0.5).with_errors_per_second(50.0);
        backends.list()[0].report(secs(second), failing);
        backends.list()[1].report(secs(second), LoadReport::new(100.0, 0.5));
        for nonsense in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            let report = LoadReport::new(nonsense, nonsense);
            backends.list()[1].report(secs(second) + ms(1), report);
        }
    }
    let counts = counts(&backends, secs(20));
    assert!((counts[0] as f64 / 3000.0 - 1.0).abs() < 0.01, "{counts:?}");
}
