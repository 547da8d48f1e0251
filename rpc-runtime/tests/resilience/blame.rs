//! Which failures speak against a server.

use rpc_core::Code;
use rpc_runtime::resilience::blames_server;

/// F8: `INVALID_ARGUMENT` never ejects, nor does what a handler's typed error carries.
#[test]
fn f8_only_what_the_server_is_to_blame_for_counts_against_it() {
    let blamed: Vec<_> = (0..=16)
        .map(Code::from_number)
        .filter(|code| blames_server(*code))
        .collect();
    assert_eq!(
        blamed,
        [
            Code::DeadlineExceeded,
            Code::ResourceExhausted,
            Code::Internal,
            Code::Unavailable,
            Code::DataLoss
        ]
    );
}
