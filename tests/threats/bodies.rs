//! Frames that are honest and bodies that are not.

use rpc::{Channel, Code, Codec};

use crate::raw::{self, Raw};
use crate::stage::{Stage, TargetClient};

const MIB: usize = 1 << 20;
/// The longest body a request can have.
const BODY_MAX: usize = 4 * MIB;

/// A length in the integer encoding of bincode.
fn length(length: u64) -> Vec<u8> {
    let mut bytes = vec![253];
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes
}

/// A length, and as many of the same byte as fill the longest body.
fn filled(count: u64, byte: u8) -> Vec<u8> {
    let mut body = length(count);
    body.resize(BODY_MAX, byte);
    body
}

/// Refused with `InvalidArgument`, and the next call on the same connection succeeds.
async fn refused(channel: &Channel, method: &str, body: &[u8]) {
    let path = format!("Target.{method}");
    let status = channel.call_raw(&path, body).await.expect_err(method);
    assert_eq!(status.code(), Code::InvalidArgument, "{method}: {status}");
    let next = TargetClient::new(channel.clone()).echo_next().await;
    assert_eq!(next, 7, "the next call after {method}");
}

impl TargetClient {
    async fn echo_next(&self) -> u64 {
        use crate::stage::Target as _;
        self.echo(7).await.unwrap()
    }
}

#[test]
fn t2_lengths_that_lie_are_refused_cheaply() {
    // [call.arguments]
    let stage = Stage::new();
    for count in [1 << 20, 1 << 32, 1 << 40, u64::MAX] {
        for method in ["text", "texts", "bytes", "units", "large"] {
            let counted = stage.attack(async {
                let channel = stage.connect_with(Codec::Bincode).await;
                refused(&channel, method, &length(count)).await;
            });
            let peak = counted.bytes_max as usize;
            assert!(peak <= MIB, "{method} {count}: {peak}");
        }
    }
}

#[test]
fn t2_elements_that_grow_in_memory_stay_below_40_mib() {
    // [call.arguments]
    let stage = Stage::new();
    let bodies = [
        ("units", filled(u64::from(u32::MAX) + 1, 0)),
        ("units", filled(BODY_MAX as u64 - 9, 0)),
        ("texts", filled(BODY_MAX as u64 - 8, 0)),
        ("large", filled(BODY_MAX as u64, 0)),
    ];
    for (method, body) in &bodies {
        let counted = stage.attack(async {
            let channel = stage.connect_with(Codec::Bincode).await;
            refused(&channel, method, body).await;
        });
        // The client's and the server's copies of the body, and what was decoded of it.
        let peak = counted.bytes_max as usize;
        println!("{method}: {} MiB", peak / MIB);
        assert!(peak <= 40 * MIB + 3 * BODY_MAX, "{method}: {peak}");
    }
}

#[test]
fn t3_deep_nesting_is_refused_in_every_codec() {
    // [call.arguments]
    let stage = Stage::new();
    stage.attack(async {
        let bincode = stage.connect_with(Codec::Bincode).await;
        let json = stage.connect_with(Codec::Json).await;
        for depth in [129, 1_000, 30_000, 100_000, BODY_MAX] {
            let mut body = vec![1; depth - 1];
            body.push(0);
            refused(&bincode, "tree", &body).await;
            let depth = depth.min(BODY_MAX / 10 - 10);
            let nested = format!(
                r#"{}null{}"#,
                r#"{"inner":"#.repeat(depth),
                "}".repeat(depth)
            );
            refused(&json, "tree", format!(r#"{{"tree":{nested}}}"#).as_bytes()).await;
            let skipped = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            for body in [
                format!(r#"{{"tree":{{"inner":null,"unknown":{skipped}}}}}"#),
                format!(r#"{{"tree":{{"unknown":{skipped},"inner":null}}}}"#),
                format!(r#"{{"unknown":{skipped}}}"#),
            ] {
                refused(&json, "tree", body.as_bytes()).await;
            }
        }
        // A depth that is honest is no threat.
        let reply = bincode.call_raw("Target.tree", [1, 1, 1, 0]).await.unwrap();
        assert_eq!(reply[..], [4]);
    });
}

#[test]
fn t13_values_that_are_none_are_refused() {
    // [call.arguments]
    let stage = Stage::new();
    let bincode: [(&str, &[u8]); 24] = [
        ("truth", &[2]),
        ("truth", &[255]),
        ("truth", &[]),
        ("truth", &[1, 0]),
        ("text", &[1, 0xff]),
        ("text", &[2, 0xc0, 0x80]),
        ("text", &[3, 0xed, 0xa0, 0x80]),
        ("text", &[4, 0xf4, 0x90, 0x80, 0x80]),
        ("text", &[2, b'a']),
        ("text", &[1, b'a', b'b']),
        ("texts", &[2, 1, b'a']),
        ("letter", &[0xed, 0xa0, 0x80]),
        ("letter", &[0xff]),
        ("maybe", &[2, 1]),
        ("maybe", &[1]),
        ("outcome", &[2, 1]),
        ("outcome", &[251, 1, 0, 1]),
        ("number", &[251, 5, 0]),
        ("number", &[252, 5, 0, 0, 0]),
        ("number", &[253, 5, 0, 0, 0, 0, 0, 0, 0]),
        ("number", &[254, 0]),
        ("number", &[255]),
        ("bytes", &[251, 1, 0, 7]),
        ("panic", &[0]),
    ];
    let json = [
        ("truth", r#"{"truth":2}"#),
        ("truth", r#"{"truth":"true"}"#),
        ("truth", r#"{"truth":true,"truth":true}"#),
        ("truth", r#"{"truth":true} x"#),
        ("truth", r#"{"truth":true,"more":1}"#),
        ("truth", r#"{}"#),
        ("truth", ""),
        ("text", r#"{"text":"\ud800"}"#),
        ("text", "{\"text\":\"\u{1}\"}"),
        ("letter", r#"{"letter":"ab"}"#),
        ("letter", r#"{"letter":""}"#),
        ("number", r#"{"number":1.5}"#),
        ("number", r#"{"number":9223372036854775808}"#),
        ("number", r#"{"number":NaN}"#),
        ("maybe", r#"{"maybe":256}"#),
        ("outcome", r#"{"outcome":{"Ok":1,"Err":2}}"#),
    ];
    stage.attack(async {
        let channel = stage.connect_with(Codec::Bincode).await;
        for (method, body) in bincode {
            refused(&channel, method, body).await;
        }
        let channel = stage.connect_with(Codec::Json).await;
        for (method, body) in json {
            refused(&channel, method, body.as_bytes()).await;
        }
        refused(&channel, "text", b"{\"text\":\"\xff\"}").await;
    });
}

#[test]
fn t13_a_refused_body_leaves_the_connection_of_a_stranger_open() {
    // [call.arguments] [frame.flags] [call.once]
    let stage = Stage::new();
    stage.attack(async {
        let mut peer = Raw::open(stage.pipes.connect().await).await;
        let mut undefined_flag = raw::request(3, "Target.echo", &[7]);
        undefined_flag[9] = 0x80;
        let requests = [
            raw::request(1, "Target.truth", &[2]),
            raw::request(2, "Target.echo", &[7]),
            undefined_flag,
            raw::request(4, "Target.echo", &[7]),
        ];
        peer.write(&requests.concat()).await;
        for call in 1..=4 {
            let frame = peer.read().await.unwrap();
            let (kind, extra) = match call {
                1 | 3 => (raw::ERROR, raw::INVALID_ARGUMENT),
                _ => (raw::RESPONSE, 0),
            };
            let seen = (frame.kind, frame.call, frame.extra);
            assert_eq!(seen, (kind, call, extra), "{frame:?}");
        }
    });
}
