//! What can go wrong before there is a call, and what a server says about itself.

mod common;

use std::sync::Arc;

use common::{network, raw, socket_path, soon, unique};
use rpc::codec::{ErasedDeserializer, ErasedSerialize, Visit};
use rpc::{Channel, Code, Codec, CodecError, CodecId, CustomCodec, Error, Server, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[rpc::service]
trait Greeter {
    /// Greets one person.
    async fn hello(&self, name: String) -> rpc::Result<String>;
    #[rpc(oneway)]
    async fn audit(&self, line: &str) -> rpc::Result<()>;
}

struct Polite(&'static str);

impl Greeter for Polite {
    async fn hello(&self, name: String) -> rpc::Result<String> {
        Ok(format!("{}, {name}!", self.0))
    }
    async fn audit(&self, _: &str) -> rpc::Result<()> {
        Ok(())
    }
}

fn greeter() -> GreeterServer<Polite> {
    GreeterServer::new(Polite("Hello"))
}

async fn server() -> Server {
    let builder = Server::builder().add_service(greeter());
    builder.bind("tcp://127.0.0.1:0").await.unwrap()
}

fn address(server: &Server) -> &str {
    server.uri().strip_prefix("tcp://").unwrap()
}

#[tokio::test]
async fn s0_1_an_unknown_scheme_is_a_typed_error() {
    for target in ["udp://127.0.0.1:1", "carrier-pigeon://home"] {
        let bind = Server::builder().bind(target).await.unwrap_err();
        let connect = Channel::connect(target).await.unwrap_err();
        let known = if cfg!(feature = "etcd") {
            "known are tcp, unix, mem, and for names dns, etcd, registry, static"
        } else {
            "for names dns, registry, static, and etcd with the feature `etcd`"
        };
        assert!(connect.to_string().ends_with(known), "{connect}");
        for error in [bind, connect, Channel::connect_lazy(target).unwrap_err()] {
            assert!(error.is_unknown_scheme(), "{error:?}");
            assert!(error.to_string().contains(target), "{error}");
        }
    }
    let error = Channel::connect("nonsense").await.unwrap_err();
    assert!(error.is_invalid_target() && !error.is_unknown_scheme());
}

#[tokio::test]
async fn s0_2_a_port_in_use_is_told_with_its_address() {
    let first = server().await;
    let error = Server::builder().bind(first.uri()).await.unwrap_err();
    assert!(error.is_bind() && error.is_address_in_use(), "{error:?}");
    assert!(error.to_string().contains(address(&first)), "{error}");
    // It is free again once the server has shut down.
    let uri = first.uri().to_owned();
    first.shutdown().await;
    Server::builder().bind(uri).await.unwrap();
}

#[tokio::test]
async fn s0_2_a_name_in_memory_is_taken_once() {
    let target = format!("mem://{}", unique("taken"));
    let first = Server::builder().bind(&target).await.unwrap();
    let error = Server::builder().bind(&target).await.unwrap_err();
    assert!(error.is_address_in_use(), "{error:?}");
    first.shutdown().await;
    Server::builder().bind(&target).await.unwrap();
}

#[tokio::test]
async fn s0_2_a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let path = socket_path();
    let target = format!("unix://{}", path.display());
    // A process that ended leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::builder()
        .add_service(greeter())
        .bind(&target)
        .await
        .unwrap();
    let error = Server::builder().bind(&target).await.unwrap_err();
    assert!(error.is_address_in_use(), "{error:?}");
    let client = GreeterClient::connect(&target).await.unwrap();
    assert_eq!(client.hello("Ann".into()).await.unwrap(), "Hello, Ann!");
    server.shutdown().await;
    assert!(!path.exists(), "a server removes its socket");

    std::fs::write(&path, "not a socket").unwrap();
    let error = Server::builder().bind(&target).await.unwrap_err();
    assert!(error.is_address_in_use(), "{error:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a socket");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_server_leaves_the_socket_of_the_one_that_took_its_path() {
    let (path, new) = (socket_path(), socket_path());
    let target = format!("unix://{}", path.display());
    let first = Server::builder().bind(&target).await.unwrap();
    // As is usual for a restart without a gap: the next one listens elsewhere, and is moved here.
    let second = std::os::unix::net::UnixListener::bind(&new).unwrap();
    std::fs::rename(&new, &path).unwrap();
    first.shutdown().await;
    std::os::unix::net::UnixStream::connect(&path).expect("it is the second one's by now");
    drop(second);
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn s0_25_bind_returns_when_the_socket_listens() {
    for target in ["tcp://127.0.0.1:0", "tcp://[::1]:0"] {
        let server = Server::builder()
            .add_service(greeter())
            .bind(target)
            .await
            .unwrap();
        assert!(
            !server.uri().ends_with(":0"),
            "the real port: {}",
            server.uri()
        );
        let client = GreeterClient::connect(server.uri()).await.unwrap();
        client.hello("Ann".into()).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_listens_there() {
    let gone = server().await;
    let uri = gone.uri().to_owned();
    gone.shutdown().await;
    for target in [uri, "unix:///nowhere/x.sock".into(), "mem://nobody".into()] {
        let error = soon(Channel::connect(&target)).await.unwrap_err();
        assert!(error.is_connect() && !error.is_refused(), "{error:?}");
        assert!(error.to_string().contains(&target), "{error}");
        let lazy = GreeterClient::connect_lazy(&target).unwrap();
        let status = soon(lazy.hello("Ann".into())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.is_not_processed() && status.message().contains(&target));
    }
}

fn mistake(builder: rpc::ServerBuilder) -> Error {
    let error = builder.in_process().unwrap_err();
    assert!(error.is_registration(), "{error:?}");
    error
}

#[tokio::test]
async fn s1_10_a_service_registered_twice_is_an_error() {
    let twice = || {
        Server::builder()
            .add_service(greeter())
            .add_service(greeter())
    };
    assert!(mistake(twice()).to_string().contains("Greeter"));
    let error = twice().bind("tcp://127.0.0.1:0").await.unwrap_err();
    assert!(error.is_registration(), "{error:?}");

    let function = |(x,): (i64,)| async move { rpc::Result::<i64>::Ok(x) };
    let twice = Server::builder()
        .add_function("A.f", function)
        .add_function("A.f", function);
    assert!(mistake(twice).to_string().contains("A.f"));
    let ill_formed = Server::builder().add_function("f", function);
    assert!(mistake(ill_formed).to_string().contains("\"f\""));
}

#[rpc::service]
trait Left {
    async fn bemetomeka(&self) -> rpc::Result<()>;
}
#[rpc::service]
trait Right {
    async fn mokodesose(&self) -> rpc::Result<()>;
}
struct Both;
impl Left for Both {
    async fn bemetomeka(&self) -> rpc::Result<()> {
        Ok(())
    }
}
impl Right for Both {
    async fn mokodesose(&self) -> rpc::Result<()> {
        Ok(())
    }
}

/// The two names were found by trying: FNV-1a makes 0xaabb1522 of both.
#[test]
fn s1_10_methods_of_two_services_with_one_id_are_an_error() {
    let both = Server::builder()
        .add_service(LeftServer::new(Both))
        .add_service(RightServer::new(Both));
    let text = mistake(both).to_string();
    for part in ["Left.bemetomeka", "Right.mokodesose", "0xaabb1522"] {
        assert!(text.contains(part), "{text}");
    }
    // Another name for one of them helps.
    let both = Server::builder()
        .add_service(LeftServer::new(Both))
        .add_service_as("Other", RightServer::new(Both));
    both.in_process().unwrap();
}

#[tokio::test]
async fn s3_4_one_type_serves_under_two_names_beside_plain_functions() {
    let server = Server::builder()
        .add_service(greeter())
        .add_service_as("pkg.v1.Greeter", GreeterServer::new(Polite("Moin")))
        .add_function("Math.add", |(a, b): (i64, i64)| async move {
            rpc::Result::<i64>::Ok(a + b)
        })
        .add_function("Math.fail", |(): ()| async move {
            rpc::Result::<()>::Err(Status::aborted("no"))
        })
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let channel = Channel::connect(server.uri()).await.unwrap();
    let name = (&"Ann",);
    let hello: String = channel.call("Greeter.hello", &name).await.unwrap();
    let moin: String = channel.call("pkg.v1.Greeter.hello", &name).await.unwrap();
    assert_eq!((&*hello, &*moin), ("Hello, Ann!", "Moin, Ann!"));
    let named = rpc::CallOptions::new().with_service_name("pkg.v1.Greeter");
    let typed = GreeterClient::new(channel.with_options(named));
    assert_eq!(typed.hello("Ann".into()).await.unwrap(), "Moin, Ann!");
    let sum: i64 = channel.call("Math.add", &(&2_i64, &3_i64)).await.unwrap();
    assert_eq!(sum, 5);
    let status = channel.call::<_, ()>("Math.fail", &()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "no"));
    let status = channel.call::<_, ()>("Math.absent", &()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    // By its name, and not by the id that travels.
    let told = status.message().contains("\"absent\" in \"Math\"");
    assert!(told && status.is_not_processed(), "{status}");

    // S1-7: what is there can be read from the server, and its calls are counted apart.
    let services: Vec<_> = server.services().collect();
    let names: Vec<_> = services.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["Greeter", "pkg.v1.Greeter", "Math"]);
    let math = services[2].1.methods.iter().map(|method| method.name);
    assert_eq!(math.collect::<Vec<_>>(), ["add", "fail"]);
    assert_eq!(server.method_stats("Greeter.hello").unwrap().calls, 1);
    assert_eq!(
        server.method_stats("pkg.v1.Greeter.hello").unwrap().calls,
        2
    );
    assert_eq!(server.method_stats("Math.fail").unwrap().errors, 1);
    assert!(server.method_stats("Math.absent").is_none());
}

#[tokio::test]
async fn s1_7_a_server_describes_its_services() {
    let server = server().await;
    let (name, service) = server.services().next().unwrap();
    assert_eq!((name, service.name), ("Greeter", "Greeter"));
    let hello = service.method("hello").unwrap();
    assert_eq!(hello.docs, "Greets one person.");
    assert_eq!(hello.argument_names, ["name"]);
    assert_eq!(hello.argument_types, ["String"]);
    assert!(hello.reply.contains("String"), "{}", hello.reply);
    assert!(service.method("audit").unwrap().oneway && !hello.oneway);
}

/// JSON, but not the built-in one.
#[derive(Debug)]
struct Own(u8, &'static str);

impl CustomCodec for Own {
    fn id(&self) -> CodecId {
        CodecId::from_number(self.0).unwrap()
    }
    fn name(&self) -> &str {
        self.1
    }
    fn encode(&self, value: &dyn ErasedSerialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_json::to_writer_pretty(out, value).map_err(CodecError::encode)
    }
    fn decode(&self, body: &[u8], visit: Visit<'_>) -> Result<(), CodecError> {
        let mut json = serde_json::Deserializer::from_slice(body);
        visit(&mut <dyn ErasedDeserializer<'_>>::erase(&mut json)).map_err(CodecError::decode)?;
        json.end().map_err(CodecError::decode)
    }
}

fn own(id: u8, name: &'static str) -> Codec {
    Codec::custom(Own(id, name)).unwrap()
}

#[test]
fn s1_3_two_codecs_with_one_id_are_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let builder = Server::builder()
        .codec(own(200, "first"))
        .codec(own(200, "second"));
    let error = runtime
        .block_on(builder.bind("tcp://127.0.0.1:0"))
        .unwrap_err();
    assert!(error.is_codec(), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("first") && text.contains("second") && text.contains("200"),
        "{text}"
    );
}

#[tokio::test]
async fn s1_3_every_codec_carries_the_same_calls() {
    let builder = Server::builder().codec(own(200, "pretty"));
    let builder = builder
        .add_service(greeter())
        .add_function("Math.add", |(a, b): (i64, i64)| async move {
            rpc::Result::<i64>::Ok(a + b)
        });
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    for codec in [Codec::Bincode, Codec::Json, own(200, "pretty")] {
        let channel = Channel::builder().codec(codec.clone());
        let channel = channel.connect(server.uri()).await.unwrap();
        let client = GreeterClient::new(channel.clone());
        assert_eq!(
            client.hello("Ann".into()).await.unwrap(),
            "Hello, Ann!",
            "{codec:?}"
        );
        let sum: i64 = channel.call("Math.add", &(&2_i64, &3_i64)).await.unwrap();
        assert_eq!(sum, 5, "{codec:?}");
        let status = channel.call_raw("Greeter.hello", b"?").await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{codec:?}");
        let raw = channel
            .call_raw("Greeter.hello", br#"{"name":"Bob"}"#)
            .await;
        assert_eq!(raw.is_ok(), codec.name() != "bincode", "{codec:?} {raw:?}");
    }
}

#[tokio::test]
async fn s1_20_a_codec_the_server_does_not_have_is_refused_with_those_it_has() {
    let server = server().await;
    let builder = Channel::builder().codec(own(222, "secret-sauce"));
    let error = soon(builder.clone().connect(server.uri()))
        .await
        .unwrap_err();
    assert!(error.is_refused() && error.is_connect(), "{error:?}");
    let refusal = error.refusal().expect("the server said why");
    assert_eq!(refusal.codecs, [(1, "bincode".into()), (2, "json".into())]);
    assert_eq!(refusal.versions, (1, 1));
    let text = error.to_string();
    for part in ["secret-sauce", "222", "bincode", "json"] {
        assert!(text.contains(part), "{text}");
    }
    // A channel that connects later learns it with its first call.
    let lazy = GreeterClient::new(builder.connect_lazy(server.uri()).unwrap());
    let status = soon(lazy.hello("Ann".into())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("json"), "{status}");
}

/// What our server says to a hello, until it closes.
async fn answer_to(bytes: &[u8]) -> ([u8; 16], String) {
    let server = server().await;
    let mut stream = TcpStream::connect(address(&server)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    soon(async {
        let (fixed, rest) = raw::read_ack(&mut stream).await;
        let mut more = Vec::new();
        stream.read_to_end(&mut more).await.unwrap();
        assert!(more.is_empty(), "the refusal is the last word");
        (fixed, String::from_utf8_lossy(&rest).into_owned())
    })
    .await
}

#[tokio::test]
async fn s1_9_the_server_tells_strangers_what_it_supports() {
    let mut wrong_magic = raw::hello(1, 1);
    wrong_magic[1] = b'R';
    for (hello, verdict) in [
        (raw::hello(9, 1), 1),
        (raw::hello(0, 1), 1),
        (raw::hello(1, 99), 2),
        (wrong_magic, 4),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 4),
    ] {
        let (fixed, text) = answer_to(&hello).await;
        assert_eq!(fixed[..4], raw::MAGIC);
        assert_eq!(fixed[5], verdict, "{hello:02x?}");
        assert!(
            text.contains("bincode") && text.contains("json"),
            "{text:?}"
        );
        assert!(
            text.as_bytes().windows(6).any(|w| w == [5, 0, 2, 0, 1, 1]),
            "versions: {text:?}"
        );
    }
}

/// What our client makes of a server that answers like this.
async fn told_by(answer: Vec<u8>) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("tcp://{}", listener.local_addr().unwrap());
    let fake = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).await.unwrap();
        stream.write_all(&answer).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = soon(Channel::connect(target)).await.unwrap_err();
    soon(fake).await.unwrap();
    error
}

#[tokio::test]
async fn s1_9_the_client_tells_what_the_server_supports() {
    // Version 3 with verdict "version"; extensions: versions 2 to 3, codec 7 named "x".
    let mut refusal = [&raw::MAGIC[..], &[3, 1, 1, 0, 0, 0, 0, 0, 13, 0, 0, 0]].concat();
    refusal.extend_from_slice(&[5, 0, 2, 0, 2, 3, 4, 0, 3, 0, 7, 1, b'x']);
    let error = told_by(refusal).await;
    assert!(error.is_refused(), "{error:?}");
    assert_eq!(error.refusal().unwrap().versions, (2, 3));
    let text = error.to_string();
    assert!(
        text.contains("versions 2 to 3") && text.contains("x (7)"),
        "{text}"
    );
    assert!(text.contains("version 1"), "what this side speaks: {text}");

    for stranger in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.0\r\n",
    ] {
        let error = told_by(stranger.to_vec()).await;
        assert!(error.is_refused() && error.refusal().is_none(), "{error:?}");
        assert!(error.to_string().contains("does not speak rpc"), "{error}");
    }
}

/// S1-38: the source crashed on an answer it did not expect.
#[tokio::test]
async fn s1_38_a_server_that_hangs_up_is_no_panic() {
    for answer in [&[][..], &raw::MAGIC, &[0x93]] {
        let (wires, mut exchange) = network(|_, ends| ends);
        let channel = Channel::builder().with_connector(Arc::new(wires));
        let client = GreeterClient::new(channel);
        let call = tokio::spawn(async move { client.hello("Ann".into()).await });
        let mut stream = exchange.next().await;
        stream.write_all(answer).await.unwrap();
        drop(stream);
        let status = soon(call).await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
}
