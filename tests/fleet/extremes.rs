//! Settings at the end of their range, and code of the user's that fails where nobody expects it.

use rpc::Channel;
use rpc::resilience::OutlierPolicy;

use super::crew::{Crew, Greeter};
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
