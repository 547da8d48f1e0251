//! As `cluster`, but it is etcd that knows the servers: three processes, restarted in turn under load,
//! and no call fails. `cargo run --example cluster_etcd` with `--features etcd` and etcd on the PATH.
use std::io::{BufRead, BufReader, Read, stdin};
use std::process::{Child, Command, Stdio};
use std::{net::TcpListener, time::Duration};

use rpc::{Server, registry::EtcdRegistry};

#[rpc::service]
trait Greeter {
    #[rpc(timeout = "20s")]
    async fn hello(&self) -> rpc::Result<u32>;
}

struct Polite;
impl Greeter for Polite {
    async fn hello(&self) -> rpc::Result<u32> {
        Ok(std::process::id())
    }
}

/// Serves until its input ends, then finishes the calls under way.
async fn serve(etcd: EtcdRegistry) {
    let builder = Server::builder().add_service(GreeterServer::new(Polite));
    let builder = builder.register(etcd, "greeter", Default::default());
    let server = builder.bind("tcp://127.0.0.1:0").await.unwrap();
    let registered = tokio::time::timeout(Duration::from_secs(20), server.registered());
    registered.await.expect("etcd does not answer");
    println!("registered");
    let _ = tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await;
    server.shutdown().await;
}

/// A program that says a line when it is ready, and ends when its input does.
fn start(command: &mut Command) -> Child {
    let pipe = Stdio::piped;
    let mut child = command.stdin(pipe()).stdout(pipe()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().next();
    said.expect("a process ended before it was ready").unwrap();
    child
}

/// Starts etcd on a host, with a folder of its own.
const ETCD: &str = r#"
    command -v etcd >/dev/null || { echo "no etcd on the PATH: install etcd-server" >&2; exit 1; }
    at="http://$0" folder=$(mktemp -d)
    etcd --data-dir "$folder" --listen-peer-urls http://127.0.0.1:0 --listen-client-urls "$at" \
        --advertise-client-urls "$at" >/dev/null 2>&1 &
    echo started; exec 2>/dev/null; read input; kill $!; wait $!; rm -r "$folder""#;

#[tokio::main]
async fn main() {
    if let Some(etcd) = std::env::args().nth(1) {
        return serve(EtcdRegistry::new(etcd).unwrap()).await;
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let host = free.unwrap().to_string();
    let etcd = start(Command::new("sh").args(["-c", ETCD, &host]));
    let at = format!("etcd://{host}/example");
    let server = |at: &str| start(Command::new(std::env::current_exe().unwrap()).arg(at));
    let mut servers = [0, 1, 2].map(|_| server(&at));
    let client = GreeterClient::connect(format!("{at}/greeter")).await;
    let (client, mut calls, mut failed) = (client.unwrap(), 0, 0);
    let restarts = std::thread::spawn(move || {
        for number in [0, 1, 2, 0, 1, 2] {
            std::thread::sleep(Duration::from_millis(800));
            servers[number].wait().unwrap(); // Ends its input first.
            servers[number] = server(&at);
        }
        servers.into_iter().chain([etcd])
    });
    while !restarts.is_finished() {
        failed += i32::from(client.hello().await.is_err());
        calls += 1;
    }
    let processes = restarts.join().unwrap();
    let _ = processes.map(|mut process| process.wait()).count();
    println!("{calls} calls, {failed} of them failed");
    assert_eq!(failed, 0);
}
