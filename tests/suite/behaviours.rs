//! What a call does when nothing goes wrong.

use std::borrow::Cow;

use rpc::{Channel, capture_metadata};
use tokio::task::JoinSet;

use crate::Pair;
use crate::contract::{Account, PARTY, Point, Suite};

pub(crate) async fn s0_1_hello(pair: &Pair) {
    assert_eq!(
        pair.client.hello("Bob".into()).await.unwrap(),
        "Hello, Bob!"
    );
}

pub(crate) async fn zero_and_twelve_arguments(pair: &Pair) {
    pair.client.nothing().await.unwrap();
    let words = vec!["x".to_owned()];
    let text = pair
        .client
        .twelve(
            1,
            -2,
            3,
            -4,
            5,
            true,
            'g',
            0.5,
            "i".into(),
            None,
            (1, 2),
            words,
        )
        .await;
    let expected = r#"(1, -2, 3, -4, 5, true, 'g', 0.5, "i", None, (1, 2), ["x"])"#;
    assert_eq!(text.unwrap(), expected);
}

pub(crate) async fn s1_6_arguments_by_reference(pair: &Pair) {
    let point = Point { x: 1.5, y: -2.0 };
    let reply = pair.client.by_reference("ä", &[0, 255], &point).await;
    assert_eq!(reply.unwrap(), ("ä".to_owned(), vec![0, 255], point));
}

pub(crate) async fn s1_6_arguments_that_are_lent_and_kept(pair: &Pair) {
    let (text, point) = ("ä".to_owned(), Point { x: 1.5, y: -2.0 });
    let lent = (Cow::Borrowed(&*text), Cow::Borrowed(&point));
    let owned = (Cow::Owned(text.clone()), Cow::Owned(point.clone()));
    for (one, other) in [lent, owned] {
        let kept = pair.client.keep(one, other).await.unwrap();
        assert_eq!(kept, (text.clone(), point.clone()));
    }
}

pub(crate) async fn s1_6_lists_and_tables_as_replies(pair: &Pair) {
    let numbers = pair.client.count_to(1000).await.unwrap();
    assert!(numbers.into_iter().eq(1..=1000));
    let table = pair.client.lengths(vec!["a".into(), "bcd".into()]).await;
    let expected = [("a".to_owned(), 1), ("bcd".to_owned(), 3)].into();
    assert_eq!(table.unwrap(), expected);
}

pub(crate) async fn metadata_travels_both_ways(pair: &Pair) {
    let tenant = pair.client.with_metadata("tenant", "a").unwrap();
    let tenant = tenant.with_metadata("tenant", "b").unwrap();
    let (values, response) = capture_metadata(tenant.metadata("tenant".into())).await;
    assert_eq!(values.unwrap(), ["a", "b"]);
    assert_eq!(response.get("seen"), Some("tenant"));
    assert_eq!(response.len(), 1);

    let (values, response) = capture_metadata(pair.client.metadata("tenant".into())).await;
    assert!(values.unwrap().is_empty(), "metadata of another call");
    assert_eq!(response.len(), 1, "nor in the response");
}

pub(crate) async fn response_metadata_travels_with_errors(pair: &Pair) {
    let (result, response) = capture_metadata(pair.client.metadata_and_error()).await;
    result.unwrap_err();
    assert_eq!(response.get("why"), Some("zero"));
}

pub(crate) async fn oneway_runs(pair: &Pair) {
    pair.client.note("first".into()).await.unwrap();
    assert_eq!(pair.shared.next_note().await, "first");
}

/// There is one thread, and no answer that could be there at once may keep it.
pub(crate) async fn who_makes_one_call_after_the_other_lets_others_run(pair: &Pair) {
    let other = tokio::spawn(async {});
    let mut calls = 0;
    while !other.is_finished() {
        pair.client.nothing().await.unwrap();
        calls += 1;
        assert!(calls < 10_000, "nobody else runs");
    }
}

pub(crate) async fn bytes_of_64_kib(pair: &Pair) {
    let bytes: Vec<u8> = (0..65_536_u32).map(|i| (i * 7) as u8).collect();
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    assert_eq!(pair.client.reverse(bytes).await.unwrap(), reversed);
}

/// The source wrote the length of the request in front of the reply.
pub(crate) async fn s0_6_request_and_response_of_different_sizes(pair: &Pair) {
    for count in [0, 1, 47, 48, 49, 5_000, 65_535, 65_536, 300_000] {
        let reply = pair.client.repeat(9, count).await.unwrap();
        assert_eq!(reply, vec![9; count as usize]);
        let length = pair.client.length(&reply).await.unwrap();
        assert_eq!(length, u64::from(count));
    }
}

pub(crate) async fn s0_24_private_fields_survive(pair: &Pair) {
    let account = Account::new(4711, "Ann");
    let reply = pair.client.account(account.clone()).await.unwrap();
    assert_eq!(reply, account);
    assert_ne!(reply, Account::default());
}

pub(crate) async fn s1_1_a_call_by_name_gives_the_same_answer(pair: &Pair) {
    let channel: &Channel = pair.client.channel();
    let typed = pair.client.divide(7, 2).await.unwrap();
    let by_name: i64 = channel
        .call("Suite.divide", &(&7_i64, &2_i64))
        .await
        .unwrap();
    assert_eq!(by_name, typed);

    let mut body = Vec::new();
    let arguments = (&7_i64, &2_i64);
    channel
        .codec()
        .encode_arguments(&[], &arguments, &mut body)
        .unwrap();
    let raw = channel.call_raw("Suite.divide", &body).await.unwrap();
    let decoded: i64 = channel
        .codec()
        .decode(&raw, &rpc::DecodeLimits::default())
        .unwrap();
    assert_eq!(decoded, typed);
}

/// Each handler waits until all have begun, then for the one that came after it.
pub(crate) async fn s1_13_handlers_run_concurrently_and_answer_out_of_order(pair: &Pair) {
    let mut calls = JoinSet::new();
    for place in 0..PARTY {
        let client = pair.client.clone();
        calls.spawn(async move { (place, client.meet(place).await.unwrap()) });
    }
    let mut order = Vec::new();
    while let Some(call) = calls.join_next().await {
        let (place, answer) = call.unwrap();
        assert_eq!(place, answer, "the answer to another call");
        order.push(place);
    }
    assert!(order.into_iter().eq((0..PARTY).rev()));
}
