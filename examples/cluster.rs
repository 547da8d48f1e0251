//! A registry, three servers and a client, each a process of its own: the servers are restarted in
//! turn under load, and no call fails. `cargo run --example cluster` starts itself in every role.
use std::io::{BufRead, BufReader, Read, stdin};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rpc::discovery::Attributes;
use rpc::registry::{EmbeddedRegistry, RemoteRegistry};
use rpc::{Server, ServerBuilder};

#[rpc::service]
trait Greeter {
    async fn hello(&self) -> rpc::Result<u32>;
}

struct Polite;
impl Greeter for Polite {
    async fn hello(&self) -> rpc::Result<u32> {
        Ok(std::process::id())
    }
}

/// Says where it listens, serves until its input ends, then finishes the calls under way.
async fn serve(builder: ServerBuilder) {
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    server.registered().await;
    println!("{}", server.uri().replace("tcp", "registry"));
    let input_ends = tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new()));
    input_ends.await.unwrap().unwrap();
    server.shutdown().await;
}

/// This program in another role, and the first line it says.
fn start(role: &str, at: &str) -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let command = command.args([role, at]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().next();
    (child, said.unwrap().unwrap())
}

#[tokio::main]
async fn main() {
    let [role, at] = [1, 2].map(|n| std::env::args().nth(n).unwrap_or_default());
    if role == "registry" {
        let registry = EmbeddedRegistry::builder().allow_local();
        let registry = registry.writer("fleet", "a secret").build();
        return serve(Server::builder().add_service(registry.service())).await;
    } else if role == "server" {
        let registry = RemoteRegistry::new(at).unwrap().with_token("a secret");
        let builder = Server::builder().add_service(GreeterServer::new(Polite));
        return serve(builder.register(registry, "greeter", Attributes::new())).await;
    }
    let (_registry, at) = start("registry", "");
    let mut servers = [0, 1, 2].map(|_| start("server", &at).0);
    let name = format!("{at}/greeter");
    let client = GreeterClient::connect(name).await.unwrap();
    let restarts = thread::spawn(move || {
        for number in [0, 1, 2, 0, 1, 2] {
            thread::sleep(Duration::from_millis(800));
            servers[number].wait().unwrap(); // Ends its input first.
            servers[number] = start("server", &at).0;
        }
        servers
    });
    let (mut calls, mut failed) = (0_u32, 0);
    while !restarts.is_finished() {
        failed += u32::from(client.hello().await.is_err());
        calls += 1;
        if calls.is_multiple_of(8_000) {
            let servers = client.channel().stats().endpoints;
            let cell = |s: &rpc::EndpointStats| format!("{}{:>7}  ", s.address, s.calls);
            println!("{}", servers.iter().map(cell).collect::<String>());
        }
    }
    println!("{calls} calls, {failed} of them failed");
    assert_eq!(failed, 0);
}
