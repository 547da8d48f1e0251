//! T10, T11: more of something than any client needs.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::common::{network, raw, soon, until};
use crate::{PING, PONG, UNKNOWN, header, last_words, method, open, opened, served};
use crate::{Work, WorkClient, Worker, builder};

/// Writes until the server hangs up or nobody can be that patient; gives its last words and when
/// they were there.
async fn flood(mut stream: TcpStream, bytes: Vec<u8>) -> (String, Duration) {
    let begin = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let write = async {
        while begin.elapsed() < Duration::from_secs(8) {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = write => unreachable!(),
        words = last_words(&mut reader) => (words, begin.elapsed()),
    }
}

/// The figure of T10 and T11, for the median of several floods: others may use the machine as well.
const CUT_MAX: Duration = Duration::from_millis(50);

/// Floods a server some times, each time on a new connection; gives the last words, and the median
/// of the times until they were there. Between two of them the server has `settled`.
async fn floods(
    address: &str,
    bytes: Vec<u8>,
    settled: impl Fn() -> bool,
) -> (Vec<String>, Duration) {
    let (mut all_words, mut cuts) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let (words, cut) = soon(flood(opened(address).await, bytes.clone())).await;
        assert!(cut <= 10 * CUT_MAX, "{cut:?}");
        until(&settled).await;
        all_words.push(words);
        cuts.push(cut);
    }
    cuts.sort_unstable();
    (all_words, cuts[cuts.len() / 2])
}

/// Answers a call every now and then while something else goes on; gives the slowest.
async fn canary(client: WorkClient, mut ended: tokio::sync::oneshot::Receiver<()>) -> Duration {
    let mut slowest = Duration::ZERO;
    for nonce in 0_u64.. {
        let begin = Instant::now();
        assert_eq!(soon(client.echo(nonce)).await.unwrap(), nonce);
        slowest = slowest.max(begin.elapsed());
        if ended.try_recv().is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t10_a_client_that_floods_with_cancels_is_cut_off() {
    let worker = Worker::default();
    let (server, address) = served(builder(&worker)).await;
    let client = WorkClient::connect(server.uri()).await.unwrap();
    let (end, ended) = tokio::sync::oneshot::channel();
    let canary = tokio::spawn(canary(client, ended));
    let mut pairs = Vec::new();
    for call in 1..=10_000 {
        pairs.extend(raw::request(call, 0, method("wait"), 0));
        pairs.extend(header(raw::CANCEL, call, 0));
    }
    let (words, cut) = floods(&address, pairs, || worker.waiting.load(SeqCst) == 0).await;
    let _ = end.send(());
    let slowest = soon(canary).await.unwrap();
    let most = worker.waiting_most.load(SeqCst);
    println!("cancel flood: cut after {cut:?}, {most} handlers at once, canary {slowest:?}");
    for words in words {
        // If the last words were lost to a reset, so was the connection.
        assert!(
            words.is_empty() || words.contains("enhance your calm"),
            "{words}"
        );
    }
    assert!(cut <= CUT_MAX, "{cut:?}");
    assert!(most <= 256, "{most}");
    assert!(slowest <= Duration::from_millis(500), "{slowest:?}");
    until(|| worker.waiting.load(SeqCst) == 0).await;
    assert_eq!(server.load().calls_in_flight, 0);
}

/// 200 cancels at once are taken, one more is not; a client that reads learns why.
#[tokio::test(start_paused = true)]
async fn t10_the_reason_arrives_and_slow_cancels_are_taken() {
    let worker = Worker::default();
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&worker).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    open(&mut stream).await;
    let cancels =
        |from, to| -> Vec<u8> { (from..=to).flat_map(|call| header(4, call, 0)).collect() };
    stream.write_all(&cancels(1, 200)).await.unwrap();
    for call in 1..=1000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        stream.write_all(&cancels(call, call)).await.unwrap();
    }
    stream
        .write_all(&raw::request(1, 0, method("echo"), 1))
        .await
        .unwrap();
    stream.write_all(&[7]).await.unwrap();
    let (answer, _) = raw::read_frame(&mut stream).await;
    assert_eq!(answer[8], 2, "still open");
    stream.write_all(&cancels(1, 300)).await.unwrap();
    let words = last_words(&mut stream).await;
    assert!(
        words.contains("enhance your calm: the peer cancels"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t11_floods_of_frames_without_calls_are_cut() {
    let (server, address) = served(builder(&Worker::default())).await;
    let client = WorkClient::connect(server.uri()).await.unwrap();
    // Two rules meet a flood of unknown frames: how many there may be in a second, and how many ever,
    // which is as many. Whoever needs a millisecond for the first thousand meets the second rule.
    const MANY: [&str; 2] = ["control frames", "unknown kinds"];
    for (kind, length, reasons) in [
        (PING, 8, &["pings sooner than"][..]),
        (PONG, 8, &MANY[..1]),
        (UNKNOWN, 0, &MANY),
        (UNKNOWN, 100, &MANY),
    ] {
        let (end, ended) = tokio::sync::oneshot::channel();
        let canary = tokio::spawn(canary(client.clone(), ended));
        let frame = [header(kind, 0, length), vec![0; length as usize]].concat();
        let (words, cut) = floods(&address, frame.repeat(500), || true).await;
        let _ = end.send(());
        let slowest = soon(canary).await.unwrap();
        println!("flood of kind {kind}: cut after {cut:?}, canary {slowest:?}");
        for words in words {
            let known = reasons.iter().any(|reason| words.contains(reason));
            assert!(words.is_empty() || known, "{words}");
        }
        assert!(cut <= CUT_MAX, "{cut:?}");
        assert!(slowest <= Duration::from_millis(500), "{slowest:?}");
    }
    until(|| server.connection_count() == 1).await;
}

/// As many frames as may come in a moment are taken, and the next is not.
#[tokio::test(start_paused = true)]
async fn t11_one_frame_without_a_call_too_many_is_cut() {
    for (kind, length, most, reason) in [
        (PING, 8, 4, "pings sooner than"),
        (PONG, 8, 1000, "1000 control frames a second"),
        (UNKNOWN, 0, 1000, "1000 control frames a second"),
        (UNKNOWN, 100, 1000, "1000 control frames a second"),
    ] {
        for over in [0, 1] {
            let (wires, exchange) = network(|_, ends| ends);
            let _server = builder(&Worker::default()).serve(exchange).unwrap();
            let mut stream = wires.dial().await;
            open(&mut stream).await;
            let frame = [header(kind, 0, length), vec![0; length as usize]].concat();
            let mut call = raw::request(1, 0, method("echo"), 1);
            call.push(7);
            let begin = Instant::now();
            let frames = frame.repeat(most + over);
            stream.write_all(&frames).await.unwrap();
            stream.write_all(&call).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut words = Vec::new();
            stream.read_to_end(&mut words).await.unwrap();
            assert_eq!(begin.elapsed(), Duration::ZERO, "time does not pass here");
            let cut = String::from_utf8_lossy(&words).contains(reason);
            assert_eq!(cut, over == 1, "{most} and {over} of kind {kind}");
            let answered =
                words.ends_with(&[&[1, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0; 7], &[7]].concat());
            assert_eq!(answered, over == 0, "{words:?}");
        }
    }
}

/// Unknown frames as slow as pings are allowed to be, but without end.
#[tokio::test(start_paused = true)]
async fn t11_a_thousand_unknown_frames_are_enough() {
    let (wires, exchange) = network(|_, ends| ends);
    let _server = builder(&Worker::default()).serve(exchange).unwrap();
    let mut stream = wires.dial().await;
    open(&mut stream).await;
    let mut sent = 0;
    while stream.write_all(&header(UNKNOWN, 0, 0)).await.is_ok() && sent < 2000 {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let words = last_words(&mut stream).await;
    assert!(
        words.contains("too many frames of unknown kinds"),
        "{words}"
    );
    assert!((1001..1200).contains(&sent), "{sent}");
}

/// A client that asks without end for what is answered at once, and reads nothing: the server stops
/// reading, so that little waits to be answered.
#[tokio::test(start_paused = true)]
async fn t11_answers_do_not_pile_up_for_a_client_that_does_not_read() {
    let missing = 0x0bad_0bad;
    for (calls, method, length) in [(true, missing, 0), (true, method("echo"), 1), (false, 0, 8)] {
        let (wires, exchange) = network(|_, ends| ends);
        let _server = builder(&Worker::default()).serve(exchange).unwrap();
        let mut stream = wires.dial().await;
        open(&mut stream).await;
        let mut sent = 0_u32;
        while sent < 40_000 {
            let mut frame = raw::request(sent + 1, 0, method, length);
            if !calls {
                frame[8] = PING;
                // What keeps the pings from being a nuisance.
                frame.splice(0..0, raw::request(sent + 1, raw::ONEWAY, missing, 0));
            }
            frame.extend(vec![7; length as usize]);
            let written = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&frame));
            if !matches!(written.await, Ok(Ok(()))) {
                break;
            }
            sent += 1;
        }
        // 64 KiB in each direction are in the pipe, and one read at the server. Too many pings end
        // the connection, and what comes then is thrown away.
        println!("{sent} frames were taken");
        assert!(!calls || sent < 40_000, "{sent}");
        let mut rest = Vec::new();
        let read = soon(stream.read_to_end(&mut rest));
        let _ = tokio::time::timeout(Duration::from_secs(5), read).await;
        println!("and answered with {} bytes", rest.len());
        assert!(rest.len() <= 1 << 20, "{}", rest.len());
    }
}
