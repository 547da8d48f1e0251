//! T18: who may write what.

use rpc::{Code, Status};

use super::*;

async fn registry(builder: RegistryBuilder) -> (Server, RegistrarClient) {
    let builder = Server::builder().add_service(builder.build().service());
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    let client = RegistrarClient::connect(server.uri()).await.unwrap();
    (server, client)
}

fn with_token(client: &RegistrarClient, token: &str) -> RegistrarClient {
    let value = format!("Bearer {token}");
    client.with_metadata("authorization", &value).unwrap()
}

async fn enter(client: &RegistrarClient, address: &str) -> Result<Lease, Status> {
    let instance = Instance::new(address, Attributes::new());
    client.register("greeter".into(), instance, TTL).await
}

#[tokio::test]
async fn t18_who_has_no_token_changes_nothing() {
    let builder = EmbeddedRegistry::builder().allow_local();
    let (_server, nobody) = registry(builder.writer("ann", "one").writer("bob", "two")).await;
    let (ann, bob) = (with_token(&nobody, "one"), with_token(&nobody, "two"));
    let address = "tcp://127.0.0.1:7000";
    let lease = enter(&ann, address).await.unwrap();
    for stranger in [nobody.clone(), with_token(&nobody, "three")] {
        for refused in [
            enter(&stranger, "tcp://127.0.0.1:1").await.map(drop),
            enter(&stranger, address).await.map(drop),
            stranger.renew(lease).await,
            stranger.deregister(lease).await,
        ] {
            assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
        }
    }
    for refused in [
        enter(&bob, address).await.map(drop),
        bob.renew(lease).await,
        bob.deregister(lease).await,
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    // Everybody may read, and finds what was there.
    assert_eq!(listed(&nobody, "greeter").await, [address]);
    ann.deregister(lease).await.unwrap();
}

#[tokio::test]
async fn t18_unless_it_is_said_nobody_writes() {
    let (_server, client) = registry(EmbeddedRegistry::builder().allow_local()).await;
    let refused = enter(&client, "tcp://127.0.0.1:7000").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn t18_addresses_are_the_writers_own_and_harmless() {
    let (_server, client) = registry(open()).await;
    for (address, code) in [
        ("tcp://169.254.169.254:80", Code::InvalidArgument),
        ("tcp://0.0.0.0:80", Code::InvalidArgument),
        ("tcp://a,b:80", Code::InvalidArgument),
        ("tcp://127.0.0.1:80\r\nx", Code::InvalidArgument),
        ("tcp://10.0.0.1:80", Code::PermissionDenied),
        ("tcp://example.com:80", Code::InvalidArgument),
    ] {
        let refused = enter(&client, address).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    assert!(listed(&client, "greeter").await.is_empty());
    let strict = EmbeddedRegistry::builder().without_authentication();
    let (_server, client) = registry(strict).await;
    let refused = enter(&client, "tcp://127.0.0.1:80").await.unwrap_err();
    assert!(refused.message().contains("loopback"), "{refused}");
}

#[tokio::test]
async fn t18_times_names_and_sizes_are_limited() {
    let (_server, client) = registry(open().entries_max(1)).await;
    let address = "tcp://127.0.0.1:80";
    let enter = async |name: &str, attributes, ttl| {
        let instance = Instance::new(address, attributes);
        let entered = client.register(name.into(), instance, ttl).await;
        entered.map_err(|status| status.code())
    };
    let new = Attributes::new;
    for (name, attributes, ttl) in [
        ("greeter", new(), seconds(0)),
        ("greeter", new(), seconds(4)),
        ("greeter", new(), seconds(61)),
        ("greeter", new(), Duration::MAX),
        ("gree ter", new(), TTL),
        ("greeter", new().with_version("v".repeat(512)), TTL),
    ] {
        let refused = enter(name, attributes, ttl).await;
        assert_eq!(refused, Err(Code::InvalidArgument), "{name} {ttl:?}");
    }
    enter("greeter", new(), TTL).await.unwrap();
    let full = enter("other", new(), TTL).await;
    assert_eq!(full, Err(Code::ResourceExhausted));
    let mark = Mark::default();
    let asked = client.watch("no name".into(), mark).await;
    assert_eq!(asked.unwrap_err().code(), Code::InvalidArgument);
}

/// T22: a token is shown by nothing that holds it.
#[tokio::test]
async fn t22_tokens_are_not_shown() {
    let builder = EmbeddedRegistry::builder().writer("ann", "S3CR3T-7");
    let remote = RemoteRegistry::new("registry://127.0.0.1:1").unwrap();
    let remote = remote.with_token("S3CR3T-7");
    let shown = format!("{builder:?} {:?} {remote:?}", builder.clone().build());
    assert!(!shown.contains("S3CR3T"), "{shown}");
    let entry = Entry::new("greeter", Endpoint::new("mem://a").unwrap(), TTL).unwrap();
    let refused = rpc::registry::Registry::register(&remote, &entry).await;
    let refused = refused.err().unwrap();
    assert!(
        !format!("{refused:?} {refused}").contains("S3CR3T"),
        "{refused:?}"
    );
}
