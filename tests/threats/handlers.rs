//! Handlers that panic.

use rpc::Code;

use crate::stage::{ON_PURPOSE, Stage, Target as _, TargetClient};

/// An unoptimized build unwinds slowly.
const PANICS: u64 = if cfg!(debug_assertions) {
    20_000
} else {
    100_000
};
const AT_ONCE: u64 = 50;

async fn panics(client: TargetClient, calls: u64) {
    for n in 0..calls {
        let outcome = match n % 8 {
            0 => client.panic_later().await,
            _ => client.panic().await,
        };
        let status = outcome.expect_err("a panic");
        assert_eq!(status.code(), Code::Internal);
        assert!(!format!("{status:?}{status}").contains(ON_PURPOSE));
        // A sibling on the same connection.
        assert_eq!(client.echo(n).await.unwrap(), n);
    }
}

#[test]
fn t14_panics_harm_nobody_and_leave_nothing_behind() {
    let stage = Stage::new();
    let counted = stage.attack(async {
        let client = stage.connect().await;
        let callers = (0..AT_ONCE).map(|_| {
            let client = client.clone();
            tokio::spawn(panics(client, PANICS / AT_ONCE))
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
    println!("{PANICS} panics: {} bytes left", counted.bytes_current);
    assert!(counted.bytes_current <= 2 << 20, "{counted:?}");
    for (path, share) in [("Target.panic", 7), ("Target.panic_later", 1)] {
        let stats = stage.server.method_stats(path).unwrap();
        let expected = PANICS / AT_ONCE * AT_ONCE * share / 8;
        assert_eq!((stats.errors, stats.in_flight), (expected, 0), "{path}");
    }
}
