//! Each way a call can fail: it has its code, and only that call fails.

use rpc::{Code, Status};

use crate::contract::{DivideError, Fragile, LargerAccount, Panic, Suite};
use crate::{MESSAGE_BYTES_MAX, Pair};

pub(crate) async fn s0_23_a_typed_error_arrives_typed(pair: &Pair) {
    let error = pair.client.divide(5, 0).await.unwrap_err();
    assert_eq!(error, DivideError::ByZero { dividend: 5 });
    // Callers that do not know the type see its code and its text.
    let channel = pair.client.channel();
    let status = channel
        .call::<_, i64>("Suite.divide", &(&5_i64, &0_i64))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(status.message(), "ByZero { dividend: 5 }");
    assert!(!status.is_not_processed());
}

pub(crate) async fn s1_22_a_status_arrives_verbatim(pair: &Pair) {
    for text in ["100%d", "", "{}", "ä\n\u{0}%s%n", "\"quoted\""] {
        for code in 1..=16 {
            let status = pair.client.refuse(code, text.into()).await.unwrap_err();
            assert_eq!((status.code().number(), status.message()), (code, text));
            assert!(!status.is_not_processed(), "it was");
        }
    }
}

pub(crate) async fn s0_22_each_failure_has_its_code(pair: &Pair) {
    let channel = pair.client.channel();
    let too_long = vec![0; MESSAGE_BYTES_MAX as usize + 1];
    let mut codes = Vec::new();
    for (path, body) in [
        ("Absent.hello", &[][..]),
        ("Suite.absent", &[]),
        ("Suite.hello", &[0xff]),
        ("Suite.length", &too_long),
    ] {
        let status = channel.call_raw(path, body).await.unwrap_err();
        assert!(status.is_not_processed(), "{path}: {status}");
        codes.push(status.code());
        pair.client.nothing().await.unwrap();
    }
    codes.push(pair.client.refuse(9, "no".into()).await.unwrap_err().code());
    codes.push(pair.client.panic(Panic::AtOnce).await.unwrap_err().code());
    let expected = [
        Code::NotFound,
        Code::Unimplemented,
        Code::InvalidArgument,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Internal,
    ];
    assert_eq!(codes, expected);
}

pub(crate) async fn s1_11_an_ill_formed_path_is_told(pair: &Pair) {
    for path in ["", "hello", ".hello", "Suite.", "."] {
        let status = pair.client.channel().call_raw(path, []).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{path:?}");
        assert!(status.message().contains("ill-formed"), "{status}");
    }
    let status = pair
        .client
        .channel()
        .call_raw("pkg.v1.Suite.hello", [])
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "split at the last dot");
    assert!(status.message().contains("pkg.v1.Suite"), "{status}");
}

/// The source took the body that nobody had read for the next header.
pub(crate) async fn s1_14_undecodable_arguments_fail_alone(pair: &Pair) {
    let channel = pair.client.channel();
    let mut good = Vec::new();
    channel
        .codec()
        .encode_arguments(&[], &(&"Ann".to_owned(),), &mut good)
        .unwrap();
    let longer = [&good[..], b"?"].concat();
    for body in [&[][..], &good[..good.len() - 1], &longer, &[0xff; 3000]] {
        let status = channel.call_raw("Suite.hello", body).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("Suite.hello"), "{status}");
        let status = channel.call_raw("Suite.absent", body).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        channel.call_raw("Suite.hello", &good).await.unwrap();
    }
}

pub(crate) async fn s0_24_a_missing_field_fails(pair: &Pair) {
    let account = (3_u64, Some("Ann".to_owned()));
    let channel = pair.client.channel();
    let reply = channel
        .call::<_, LargerAccount>("Suite.account", &(&account,))
        .await;
    let status = reply.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(
        status.message().contains("could not be decoded"),
        "{status}"
    );

    let reply = channel
        .call::<_, LargerAccount>("Suite.account", &(&3_u64,))
        .await;
    assert_eq!(reply.unwrap_err().code(), Code::InvalidArgument);
}

pub(crate) async fn oversized_messages_fail_alone(pair: &Pair) {
    let long = vec![0; MESSAGE_BYTES_MAX as usize];
    let status = pair.client.length(&long).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let fits = &long[..long.len() - 16];
    assert_eq!(pair.client.length(fits).await.unwrap(), fits.len() as u64);
}

/// The caller learns that the handler panicked, and nothing of what it said.
fn assert_panicked(status: &Status) {
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert!(
        !format!("{status:?}{status}").contains("secret"),
        "{status:?}"
    );
    assert!(!status.is_not_processed());
}

pub(crate) async fn t14_a_panic_before_the_first_await(pair: &Pair) {
    assert_panicked(&pair.client.panic(Panic::AtOnce).await.unwrap_err());
}

pub(crate) async fn t14_a_panic_after_an_await(pair: &Pair) {
    assert_panicked(&pair.client.panic(Panic::AfterAwait).await.unwrap_err());
}

pub(crate) async fn t14_a_panic_in_drop_of_a_local(pair: &Pair) {
    assert_panicked(&pair.client.panic(Panic::InDrop).await.unwrap_err());
}

pub(crate) async fn s1_4_t14_a_failing_serialize_of_the_reply(pair: &Pair) {
    for (fragile, told) in [(1, "it is fragile"), (2, "")] {
        let status = pair.client.give(fragile).await.unwrap_err();
        assert_panicked(&status);
        assert!(
            status.to_string().contains(told) || fragile == 1,
            "{status}"
        );
    }
    assert!(matches!(pair.client.give(0).await, Ok(Fragile::Whole)));
}

pub(crate) async fn s1_4_t14_a_failing_serialize_of_an_argument(pair: &Pair) {
    for fragile in [Fragile::Fails, Fragile::Panics] {
        let status = pair.client.take(fragile).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert!(status.is_not_processed(), "it was not sent");
    }
    pair.client.take(Fragile::Whole).await.unwrap();
}

pub(crate) async fn t14_a_panic_of_a_oneway_handler(pair: &Pair) {
    pair.client
        .note_and_panic("last words".into())
        .await
        .unwrap();
    assert_eq!(pair.shared.next_note().await, "last words");
}

pub(crate) async fn t14_a_panic_does_not_disturb_calls_beside_it(pair: &Pair) {
    let beside = pair.client.clone();
    let parked = tokio::spawn(async move { beside.park().await });
    pair.shared.parked.notified().await;
    for how in [Panic::AtOnce, Panic::AfterAwait, Panic::InDrop] {
        assert_panicked(&pair.client.panic(how).await.unwrap_err());
    }
    pair.client.give(2).await.unwrap_err();
    pair.shared.unpark.notify_one();
    assert_eq!(parked.await.unwrap().unwrap(), 7);
}
