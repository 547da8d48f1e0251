//! S0-1, S0-26, S4-1: one suite of behaviours, the same over every transport and without one.

#[path = "suite/behaviours.rs"]
mod behaviours;
mod common;
#[path = "suite/contract.rs"]
mod contract;
#[path = "suite/failures.rs"]
mod failures;

use common::{socket_path, unique};
use contract::{Host, Shared, SuiteClient, SuiteServer};

/// What is between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Tcp,
    Tcp6,
    Unix,
    Memory,
    InProcess,
}

/// A client of a suite, and what it needs to live.
struct Pair {
    client: SuiteClient,
    /// What the handlers see and leave behind.
    shared: Shared,
    server: Option<rpc::Server>,
}

/// The longest message in the suite.
const MESSAGE_BYTES_MAX: u32 = 1024 * 1024;

impl Wire {
    fn target(self) -> String {
        match self {
            Self::Tcp => "tcp://127.0.0.1:0".into(),
            Self::Tcp6 => "tcp://[::1]:0".into(),
            Self::Unix => format!("unix://{}", socket_path().display()),
            Self::Memory | Self::InProcess => format!("mem://{}", unique("suite")),
        }
    }

    async fn open(self) -> Pair {
        let shared = Shared::default();
        let builder = rpc::Server::builder()
            .message_bytes_max(MESSAGE_BYTES_MAX)
            .add_service(SuiteServer::new(Host(shared.clone())));
        let (channel, server) = if self == Self::InProcess {
            let invoke = builder.in_process().unwrap();
            (rpc::Channel::from_invoke(invoke), None)
        } else {
            let server = builder.bind(self.target()).await.unwrap();
            let channel = rpc::Channel::connect(server.uri()).await.unwrap();
            (channel, Some(server))
        };
        Pair {
            client: SuiteClient::new(channel),
            shared,
            server,
        }
    }
}

macro_rules! over_every_transport {
    ($($file:ident::$behaviour:ident)*) => {
        over_every_transport! { @ tcp Tcp $($file::$behaviour)* }
        over_every_transport! { @ tcp6 Tcp6 $($file::$behaviour)* }
        over_every_transport! { @ unix Unix $($file::$behaviour)* }
        over_every_transport! { @ memory Memory $($file::$behaviour)* }
        over_every_transport! { @ in_process InProcess $($file::$behaviour)* }
    };
    (@ $name:ident $wire:ident $($file:ident::$behaviour:ident)*) => {
        mod $name {
            use crate::contract::Suite;

            $(#[tokio::test]
            async fn $behaviour() {
                let pair = super::Wire::$wire.open().await;
                crate::common::soon(super::$file::$behaviour(&pair)).await;
                // Whatever happened, the same client goes on, on the same connection.
                assert_eq!(pair.client.hello("Ann".into()).await.unwrap(), "Hello, Ann!");
                if let Some(server) = &pair.server {
                    assert_eq!(server.connection_count(), 1);
                }
            })*
        }
    };
}

over_every_transport! {
    behaviours::s0_1_hello
    behaviours::zero_and_twelve_arguments
    behaviours::s1_6_arguments_by_reference
    behaviours::s1_6_lists_and_tables_as_replies
    behaviours::metadata_travels_both_ways
    behaviours::response_metadata_travels_with_errors
    behaviours::oneway_runs
    behaviours::bytes_of_64_kib
    behaviours::s0_6_request_and_response_of_different_sizes
    behaviours::s0_24_private_fields_survive
    behaviours::s1_1_a_call_by_name_gives_the_same_answer
    behaviours::s1_13_handlers_run_concurrently_and_answer_out_of_order
    failures::s0_23_a_typed_error_arrives_typed
    failures::s1_22_a_status_arrives_verbatim
    failures::s0_22_each_failure_has_its_code
    failures::s1_11_an_ill_formed_path_is_told
    failures::s1_14_undecodable_arguments_fail_alone
    failures::s0_24_a_missing_field_fails
    failures::oversized_messages_fail_alone
    failures::t14_a_panic_before_the_first_await
    failures::t14_a_panic_after_an_await
    failures::t14_a_panic_in_drop_of_a_local
    failures::s1_4_t14_a_failing_serialize_of_the_reply
    failures::s1_4_t14_a_failing_serialize_of_an_argument
    failures::t14_a_panic_of_a_oneway_handler
    failures::t14_a_panic_does_not_disturb_calls_beside_it
}
