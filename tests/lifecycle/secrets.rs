//! T22: what is secret in a call is in no log, no error and no debug output.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use rpc::{CallInfo, Channel, Code, Context, Interceptor, Server, Status};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::common::{soon, unique, until};
use crate::ms;

/// Writes down every event and span, of every level.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl tracing::Subscriber for Capture {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut log = self.0.lock().unwrap();
        log.push_str(attributes.metadata().name());
        attributes.record(&mut Line(&mut log));
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Line(&mut self.0.lock().unwrap()));
    }
    fn event(&self, event: &tracing::Event<'_>) {
        let mut log = self.0.lock().unwrap();
        let metadata = event.metadata();
        write!(log, "\n{} {}", metadata.level(), metadata.target()).unwrap();
        event.record(&mut Line(&mut log));
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

const CANARY: &str = "S3CR3T";

#[rpc::service]
trait Safe {
    async fn open(&self, combination: String) -> rpc::Result<String>;
    async fn refuse(&self, combination: String) -> rpc::Result<()>;
    async fn panic(&self, combination: String) -> rpc::Result<()>;
    async fn hang(&self, combination: String) -> rpc::Result<()>;
}

/// Shows whatever it can get hold of.
#[derive(Clone, Default)]
struct Vault(Arc<Mutex<String>>);

impl Vault {
    fn show(&self, what: &dyn Debug) {
        write!(self.0.lock().unwrap(), "{what:?}").unwrap();
    }
}

impl Safe for Vault {
    async fn open(&self, combination: String) -> rpc::Result<String> {
        self.show(&Context::current());
        let context = Context::current();
        let added = context.add_response_metadata("set-cookie", "S3CR3T-cookie");
        added.map_err(|error| Status::internal(error.to_string()))?;
        Ok(combination)
    }
    async fn refuse(&self, _: String) -> rpc::Result<()> {
        Err(Status::permission_denied("no"))
    }
    async fn panic(&self, combination: String) -> rpc::Result<()> {
        panic!("{combination}");
    }
    async fn hang(&self, _: String) -> rpc::Result<()> {
        std::future::pending().await
    }
}

impl Interceptor for Vault {
    async fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        self.show(call);
        Ok(())
    }
}

#[tokio::test]
async fn t22_secrets_are_shown_nowhere() {
    let capture = Capture::default();
    let _guard = tracing::subscriber::set_default(capture.clone());
    let vault = Vault::default();
    let target = format!("mem://{}", unique("safe"));
    let server = Server::builder()
        .add_service(SafeServer::new(vault.clone()))
        .interceptor(vault.clone())
        .bind(&target)
        .await
        .unwrap();
    let channel = Channel::builder().interceptor(vault.clone());
    let mut channel = channel.connect(&target).await.unwrap();
    for key in [
        "authorization",
        "token-bin",
        "cookie",
        "proxy-authorization",
    ] {
        channel = channel.with_metadata(key, "S3CR3T-metadata").unwrap();
    }
    let client = SafeClient::new(channel.clone());
    let secret = || "S3CR3T-argument".to_owned();

    let (opened, response) = rpc::capture_metadata(client.open(secret())).await;
    assert_eq!(opened.unwrap(), secret(), "it does arrive");
    vault.show(&response);
    vault.show(&client.refuse(secret()).await.unwrap_err());
    vault.show(&client.with_timeout(ms(5)).hang(secret()).await.unwrap_err());
    let status = channel.call_raw("Safe.open", b"S3CR3T-body").await;
    vault.show(&status.unwrap_err());
    let undecodable: Result<u64, _> = channel.call("Safe.open", &(&secret(),)).await;
    vault.show(&undecodable);
    vault.show(&channel.call_raw("Absent.open", b"S3CR3T-body").await);
    vault.show(&channel.call_raw("Safe.absent", b"S3CR3T-body").await);
    for part in [&client as &dyn Debug, &channel, &server, channel.options()] {
        vault.show(part);
        vault.show(&format!("{part:#?}"));
    }
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.hang(secret()).await }
    });
    until(|| server.load().calls_in_flight == 1).await;
    vault.show(&server.stats());
    drop(server);
    vault.show(&soon(hanging).await.unwrap().unwrap_err());
    vault.show(&client.open(secret()).await.unwrap_err());

    let shown = vault.0.lock().unwrap().clone();
    let log = capture.0.lock().unwrap().clone();
    assert!(shown.contains("authorization"), "keys are no secret");
    assert!(
        log.contains("connection closed"),
        "something was logged: {log}"
    );
    for text in [&shown, &log] {
        let at = text.find(CANARY);
        assert_eq!(at.map(|at| &text[at.saturating_sub(300)..at + 20]), None);
    }
}

/// The text of a panic is for the log of the server, and for nobody else.
#[tokio::test]
async fn t22_the_text_of_a_panic_is_logged_and_not_told() {
    let capture = Capture::default();
    let _guard = tracing::subscriber::set_default(capture.clone());
    let target = format!("mem://{}", unique("safe"));
    let server = Server::builder().add_service(SafeServer::new(Vault::default()));
    let _server = server.bind(&target).await.unwrap();
    let client = SafeClient::connect(&target).await.unwrap();
    let status = client.panic("S3CR3T-panic".into()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let told = format!("{status:?} {status}");
    assert!(!told.contains(CANARY), "{told}");
    let log = capture.0.lock().unwrap().clone();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(CANARY)).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].starts_with("ERROR") && lines[0].contains("Safe.panic"),
        "{log}"
    );
}

/// Refuses everything, with words that a terminal obeys; or panics.
struct Rude(bool);

const ORDERS: &str = "\x1b[31mred\r\nERROR all is lost";

impl Interceptor for Rude {
    async fn before(&self, _: &mut CallInfo) -> Result<(), Status> {
        assert!(!self.0, "{ORDERS}");
        Err(Status::permission_denied(ORDERS))
    }
}

/// T22: what a peer or a caller says cannot forge lines of a log, nor speak to a terminal.
#[tokio::test]
async fn t22_control_characters_are_escaped_when_shown() {
    let capture = Capture::default();
    let _guard = tracing::subscriber::set_default(capture.clone());
    let target = format!("mem://{}", unique("safe"));
    let server = Server::builder()
        .add_service(SafeServer::new(Vault::default()))
        .interceptor(Rude(false));
    let _server = server.bind(&target).await.unwrap();
    let channel = Channel::connect(&target).await.unwrap();
    let refused = channel.call_raw("Safe.open", b"").await.unwrap_err();
    assert_eq!(refused.message(), ORDERS, "it arrives as it was");
    let path = format!("Safe{ORDERS}.op{ORDERS}en");
    let absent = channel.call_raw(&path, b"").await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
    let ill_formed = channel.call_raw(ORDERS, b"").await.unwrap_err();
    let rude = Channel::builder().interceptor(Rude(true));
    let rude = rude.connect(&target).await.unwrap();
    rude.call_raw(&path, b"").await.unwrap_err();
    for status in [refused, absent, ill_formed] {
        let shown = format!("{status} {status:?}");
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert!(shown.contains("red"), "{shown}");
    }
    let log = capture.0.lock().unwrap().clone();
    assert!(log.contains("interceptor panicked"), "{log}");
    let lines = log
        .split('\n')
        .filter(|line| line.contains(char::is_control));
    assert_eq!(lines.collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(!log.contains("\nERROR all"), "{log}");
}
