//! Members of etcd that a test starts, and what a test asks of them behind our back.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::common::unique;
use super::peers::{CutOff, Peers};

/// A cluster in a folder of its own; killed when it is dropped.
pub(crate) struct Etcd {
    members: Vec<Member>,
    peers: Peers,
    folder: PathBuf,
}

struct Member {
    child: Option<Child>,
    name: String,
    client: String,
    /// Where it listens to its peers, and where they find it.
    peer: String,
    relay: String,
    initial: String,
}

/// A key and its lease.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) lease: String,
    /// The revision at which it was made.
    created: String,
}

impl Key {
    /// True if this is the same key, made later.
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        self.name == other.name && self.created != other.created
    }
}

impl Etcd {
    /// As many members, ready to answer; `None` if there is no etcd and it need not be.
    pub(crate) async fn start(members: usize) -> Option<Self> {
        if !is_installed() {
            assert!(
                std::env::var_os("RPC_REQUIRE_ETCD").is_none(),
                "no etcd on the PATH"
            );
            println!("skipped: there is no etcd on the PATH");
            return None;
        }
        // A port that is free now may be taken a moment later.
        for _ in 0..3 {
            let mut etcd = Self::new(members).await;
            for number in 0..members {
                etcd.restart(number);
            }
            if etcd.is_ready().await {
                return Some(etcd);
            }
        }
        panic!("etcd does not start");
    }

    async fn new(count: usize) -> Self {
        let listeners = (0..2 * count).map(|_| {
            // Not where connections come from: while a member is down, none takes its port.
            let apart = TcpListener::bind("127.0.0.2:0");
            let listener = apart.or_else(|_| TcpListener::bind("127.0.0.1:0"));
            listener.unwrap()
        });
        // All at once, so that they differ.
        let listeners: Vec<_> = listeners.collect();
        let hosts = listeners
            .iter()
            .map(|l| l.local_addr().unwrap().to_string());
        let hosts: Vec<_> = hosts.collect();
        let (peers, mut relays) = (Peers::new(), Vec::new());
        for (number, peer) in hosts.iter().enumerate().take(count) {
            relays.push(peers.open(number, peer.clone()).await);
        }
        let named = relays.iter().enumerate();
        let initial = named.map(|(number, relay)| format!("m{number}=http://{relay}"));
        let initial = initial.collect::<Vec<_>>().join(",");
        let members = (0..count).map(|number| Member {
            child: None,
            name: format!("m{number}"),
            peer: hosts[number].clone(),
            relay: relays[number].clone(),
            client: hosts[count + number].clone(),
            initial: initial.clone(),
        });
        Self {
            members: members.collect(),
            peers,
            folder: std::env::temp_dir().join(unique("rpc-etcd")),
        }
    }

    /// Starts a member with what it has on disk.
    pub(crate) fn restart(&mut self, number: usize) {
        self.members[number].start(&self.folder);
    }

    /// Waits until every member can write.
    async fn is_ready(&mut self) -> bool {
        for number in 0..self.members.len() {
            if !self.is_member_ready(number).await {
                return false;
            }
        }
        true
    }

    /// Waits until a member can write; false if it ended, or does not get there.
    pub(crate) async fn is_member_ready(&mut self, number: usize) -> bool {
        let member = &mut self.members[number];
        for _ in 0..200 {
            let ended = member.child.as_mut().unwrap().try_wait().unwrap();
            if ended.is_some() {
                return false;
            }
            let put = json!({ "key": base64("ready"), "value": "" });
            if ask(&member.client, "/v3/kv/put", &put).await.is_some() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) {
        let mut child = self.members[number].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Deletes what a member has on disk.
    pub(crate) fn wipe(&self, number: usize) {
        let folder = self.folder.join(&self.members[number].name);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self, number: usize) {
        self.members[number].signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self, number: usize) {
        self.members[number].signal("-CONT");
    }

    /// Cuts a member off from the others, until it says that nobody leads; its clients reach it as
    /// before.
    pub(crate) async fn cut_off(&self, number: usize) {
        let member = &self.members[number];
        let status = async || {
            let status = ask(&member.client, "/v3/maintenance/status", &json!({})).await;
            status.expect("the member answers")
        };
        let id = status().await["header"]["member_id"]
            .as_str()
            .unwrap()
            .parse();
        let cut_off = CutOff {
            number,
            id: id.unwrap(),
        };
        self.peers.cut_off.send_replace(Some(cut_off));
        for _ in 0..200 {
            if !status().await["leader"].is_string() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("a member that is cut off has a leader");
    }

    pub(crate) fn heal(&self) {
        self.peers.cut_off.send_replace(None);
    }

    pub(crate) fn host(&self, number: usize) -> &str {
        &self.members[number].client
    }

    /// All members, and a folder.
    pub(crate) fn target(&self, folder: &str) -> String {
        let hosts: Vec<_> = self.members.iter().map(|m| &*m.client).collect();
        format!("etcd://{}/{folder}", hosts.join(","))
    }

    /// The member that leads.
    pub(crate) async fn leader(&self) -> usize {
        for _ in 0..200 {
            for (number, member) in self.members.iter().enumerate() {
                let status = ask(&member.client, "/v3/maintenance/status", &json!({})).await;
                let status = status.unwrap_or_default();
                if status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
                {
                    return number;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody leads");
    }

    async fn must(&self, path: &str, body: Value) -> Value {
        for member in self.members.iter().filter(|m| m.child.is_some()) {
            // A disk that others use as well may be slow to write.
            let patience = Duration::from_secs(10);
            if let Some(answer) = ask_within(patience, &member.client, path, &body).await {
                return answer;
            }
        }
        panic!("no member answers {path} {body}");
    }

    /// Sets a key, and gives the revision.
    pub(crate) async fn put(&self, key: &str, value: &str) -> String {
        let body = json!({ "key": base64(key), "value": base64(value) });
        revision(&self.must("/v3/kv/put", body).await)
    }

    /// Sets many keys, so many at a time that the answer is short: a longer one comes in chunks.
    pub(crate) async fn put_all(&self, pairs: &[(String, String)]) {
        for some in pairs.chunks(25) {
            let puts = some.iter().map(|(key, value)| {
                json!({ "request_put": { "key": base64(key), "value": base64(value) } })
            });
            let body = json!({ "success": puts.collect::<Vec<_>>() });
            self.must("/v3/kv/txn", body).await;
        }
    }

    /// Deletes a key, and gives the revision.
    pub(crate) async fn delete(&self, key: &str) -> String {
        let body = json!({ "key": base64(key) });
        revision(&self.must("/v3/kv/deleterange", body).await)
    }

    /// Forgets everything before a revision.
    pub(crate) async fn compact(&self, revision: &str) {
        let body = json!({ "revision": revision });
        self.must("/v3/kv/compaction", body).await;
    }

    pub(crate) async fn revoke(&self, lease: &str) {
        self.must("/v3/lease/revoke", json!({ "ID": lease })).await;
    }

    /// The keys with a prefix that ends with a slash.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<Key> {
        let end = format!("{}0", prefix.strip_suffix('/').unwrap());
        let body = json!({ "key": base64(prefix), "range_end": base64(&end) });
        let answer = self.must("/v3/kv/range", body).await;
        let keys = answer["kvs"].as_array().cloned().unwrap_or_default();
        let key = |pair: Value| {
            let name = BASE64.decode(pair["key"].as_str().unwrap()).unwrap();
            Key {
                name: String::from_utf8(name).unwrap(),
                lease: pair["lease"].as_str().unwrap_or("0").to_owned(),
                created: pair["create_revision"].as_str().unwrap().to_owned(),
            }
        };
        keys.into_iter().map(key).collect()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(child) = &mut member.child {
                // Also if it is frozen.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Member {
    fn start(&mut self, folder: &Path) {
        let client = format!("http://{}", self.client);
        let peer = format!("http://{}", self.peer);
        let relay = format!("http://{}", self.relay);
        let folder = folder.join(&self.name);
        let child = Command::new("etcd")
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(&folder)
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &relay])
            .args(["--initial-cluster", &self.initial])
            .args(["--logger", "zap", "--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(status.success());
    }
}

fn is_installed() -> bool {
    let mut command = Command::new("etcd");
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn base64(text: &str) -> String {
    BASE64.encode(text)
}

fn revision(answer: &Value) -> String {
    answer["header"]["revision"].as_str().unwrap().to_owned()
}

async fn ask(host: &str, path: &str, body: &Value) -> Option<Value> {
    ask_within(Duration::from_secs(2), host, path, body).await
}

/// One request, written by hand: what is tested does not test itself.
async fn ask_within(limit: Duration, host: &str, path: &str, body: &Value) -> Option<Value> {
    let asked = async {
        let mut stream = TcpStream::connect(host).await.ok()?;
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200 ").then_some(())?;
        serde_json::from_str(body).ok()
    };
    let answer = tokio::time::timeout(limit, asked).await;
    answer.ok().flatten()
}
