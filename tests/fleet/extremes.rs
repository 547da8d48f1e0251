//! Settings at the end of their range, and code of the user's that fails where nobody expects it.

use rpc::resilience::{BackoffPolicy, OutlierPolicy};
use rpc::{Channel, Code, ConnectionPool};

use super::crew::{Crew, Greeter, GreeterClient};
use super::*;
use crate::common::soon;

/// Who does not want servers to be compared may say so by a time that never comes.
#[tokio::test(start_paused = true)]
async fn outliers_may_be_looked_for_never() {
    let crew = Crew::of(2).await;
    let outliers = OutlierPolicy::default().with_interval(Duration::MAX);
    let client = crew.client_of(Channel::builder().outliers(Some(outliers)));
    soon(client.hello(1)).await.unwrap();
    crew.list([1]);
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(soon(client.hello(2)).await.unwrap(), 1);
}

/// Nor is there ever another attempt to connect, if the pause is as long as it can be.
#[tokio::test]
async fn a_pause_before_connecting_again_may_be_for_ever() {
    let forever = BackoffPolicy::default()
        .with_base(Duration::MAX)
        .with_cap(Duration::MAX)
        .with_jitter(0.0);
    for connections in [1, 2] {
        let crew = Crew::listed(1);
        let pool = ConnectionPool::new().with_max_connections(connections);
        let builder = || {
            let builder = Channel::builder().connection_pool(pool);
            builder.reconnect_backoff(forever)
        };
        let one = builder().connect_lazy(crew.address(0)).unwrap();
        for client in [GreeterClient::new(one), crew.client_of(builder())] {
            for _ in 0..2 {
                let status = soon(client.hello(1)).await.unwrap_err();
                assert_eq!(status.code(), Code::Unavailable, "{status}");
            }
        }
    }
}
