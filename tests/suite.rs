//! S0-1, S0-26, S4-1: one suite of behaviours, the same over every transport and without one.

#[path = "suite/behaviours.rs"]
mod behaviours;
mod common;
#[path = "suite/contract.rs"]
mod contract;
#[path = "suite/failures.rs"]
mod failures;
#[path = "streaming/contract.rs"]
mod flows;
#[path = "suite/streams.rs"]
mod streams;
#[path = "suite/torn.rs"]
mod torn;

use common::{socket_path, unique};
use contract::{Host, Shared, SuiteClient, SuiteServer};
use flows::{Flowing, FlowsClient, FlowsServer};

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
    /// The service that has streams, on the same connection.
    flows: FlowsClient,
    flowing: Flowing,
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
        let (shared, flowing) = (Shared::default(), Flowing::default());
        let builder = rpc::Server::builder()
            .message_bytes_max(MESSAGE_BYTES_MAX)
            .add_service(SuiteServer::new(Host(shared.clone())))
            .add_service(FlowsServer::new(flowing.clone()));
        let (channel, server) = if self == Self::InProcess {
            let invoke = builder.in_process().unwrap();
            (rpc::Channel::from_invoke(invoke), None)
        } else {
            let server = builder.bind(self.target()).await.unwrap();
            let channel = rpc::Channel::connect(server.uri()).await.unwrap();
            (channel, Some(server))
        };
        Pair {
            client: SuiteClient::new(channel.clone()),
            flows: FlowsClient::new(channel),
            flowing,
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
    behaviours::s1_6_arguments_that_are_lent_and_kept
    behaviours::s1_6_lists_and_tables_as_replies
    behaviours::metadata_travels_both_ways
    behaviours::response_metadata_travels_with_errors
    behaviours::oneway_runs
    behaviours::who_makes_one_call_after_the_other_lets_others_run
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
    streams::s3_6_a_server_streams
    streams::s3_6_a_client_streams
    streams::s3_6_both_stream
    streams::both_sides_may_take_turns
    streams::an_upload_ends_before_its_reply_does
    streams::an_alias_and_a_place_inside_of_a_reply_are_streams_too
    streams::items_of_all_lengths
    streams::metadata_comes_with_a_stream
    streams::a_typed_error_comes_instead_of_a_stream
    streams::a_received_stream_is_forwarded
    streams::a_producer_is_polled_in_the_context_of_its_call
    streams::a_callers_stream_is_polled_in_the_context_of_the_caller
    streams::dropping_the_consumer_drops_the_producer
    streams::an_answer_stops_the_upload
    torn::an_error_comes_behind_the_items_before_it
    torn::an_upload_fails_behind_the_items_before_it
    torn::t14_a_panic_comes_behind_the_items_before_it
    torn::t14_an_upload_panics_behind_the_items_before_it
    torn::s1_4_t14_an_item_cannot_be_serialized
    torn::s1_4_t14_an_item_of_an_upload_cannot_be_serialized
    torn::an_item_cannot_be_decoded
    torn::an_item_is_too_long
    torn::two_streams_in_a_message_are_refused
    torn::a_stream_is_expected_and_none_comes
    torn::a_stream_cannot_be_given_twice
    torn::the_deadline_holds_to_the_end_of_a_stream
}
