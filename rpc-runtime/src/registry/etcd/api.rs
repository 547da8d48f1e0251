//! What is asked of etcd, and its answers: `rpc.proto` of etcd 3 as JSON.
//!
//! The mapping is protobuf's: 64-bit numbers are strings, bytes are base64, and what is zero or
//! empty is left out.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::http::{self, Failure, Lines};

/// Most keys in one answer: it has a longest length, and a time in which it has to come.
const PAGE: usize = 1000;
/// Many more pages than the longest list has.
const PAGES_MAX: usize = 64;
/// The longest time of a lease: seconds.
const TTL_MAX: u64 = 9_000_000_000;

/// Keys with a common prefix: all that happened up to a revision, and some of what happened behind it.
pub(super) struct Listing {
    pub(super) revision: i64,
    pub(super) entries: Vec<Pair>,
    /// The member that said so.
    pub(super) host: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pair {
    #[serde(deserialize_with = "bytes")]
    pub(super) key: Vec<u8>,
    #[serde(default, deserialize_with = "bytes")]
    pub(super) value: Vec<u8>,
}

/// What a watch says.
#[derive(Debug)]
pub(super) enum Told {
    Events(Vec<Event>),
    /// The watch is over: what it is about to tell is not kept any more, or etcd wants it so.
    Cancelled,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(default, rename = "type")]
    kind: Kind,
    pub(super) kv: Pair,
}

impl Event {
    pub(super) fn is_delete(&self) -> bool {
        self.kind == Kind::Delete
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Kind {
    #[default]
    #[serde(rename = "PUT")]
    Put,
    #[serde(rename = "DELETE")]
    Delete,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default, deserialize_with = "number")]
    revision: i64,
}

#[derive(Deserialize)]
struct RangeAnswer {
    header: Header,
    #[serde(default)]
    kvs: Vec<Pair>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct LeaseAnswer {
    #[serde(rename = "ID", default, deserialize_with = "number")]
    id: i64,
    #[serde(rename = "TTL", default, deserialize_with = "number")]
    ttl: i64,
}

/// One value of an answer that goes on.
#[derive(Deserialize)]
struct Streamed<T> {
    result: Option<T>,
    error: Option<Value>,
}

impl<T> Streamed<T> {
    fn into_result(self) -> Result<T, Failure> {
        self.result.ok_or_else(|| {
            let error = self.error.unwrap_or_default();
            Failure::Member(format!("etcd: {error}"))
        })
    }
}

#[derive(Deserialize)]
struct WatchAnswer {
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    events: Vec<Event>,
}

impl Cluster {
    /// A lease of about this time; etcd may give more, and has a longest.
    pub(super) async fn grant(&self, ttl: Duration) -> Result<i64, Failure> {
        let seconds = TTL_MAX.min(ttl.as_secs_f64().ceil() as u64);
        let body = json!({ "TTL": seconds.to_string() });
        let (answer, host) = self.ask::<LeaseAnswer>("/v3/lease/grant", &body).await?;
        if answer.id == 0 {
            return Err(Failure::Member(format!("etcd at {host}: no lease")));
        }
        Ok(answer.id)
    }

    /// Starts the time of a lease anew.
    pub(super) async fn keep_alive(&self, lease: i64) -> Result<(), Failure> {
        let body = json!({ "ID": lease.to_string() });
        let path = "/v3/lease/keepalive";
        let (answer, _) = self.ask::<Streamed<LeaseAnswer>>(path, &body).await?;
        // One that is over has no time left.
        match answer.into_result()?.ttl {
            ..=0 => Err(Failure::NotFound),
            _ => Ok(()),
        }
    }

    /// Ends a lease, and with it the keys that are bound to it.
    pub(super) async fn revoke(&self, lease: i64) -> Result<(), Failure> {
        let body = json!({ "ID": lease.to_string() });
        self.ask::<Value>("/v3/lease/revoke", &body).await?;
        Ok(())
    }

    /// Sets a key, bound to a lease.
    pub(super) async fn put(&self, key: &str, value: &[u8], lease: i64) -> Result<(), Failure> {
        self.ask::<Value>("/v3/kv/put", &put(key, value, lease))
            .await?;
        Ok(())
    }

    /// Sets a key that is not there.
    pub(super) async fn put_if_absent(
        &self,
        key: &str,
        value: &[u8],
        lease: i64,
    ) -> Result<(), Failure> {
        let absent = json!({ "target": "CREATE", "key": base64(key), "create_revision": "0" });
        let body = json!({
            "compare": [absent],
            "success": [{ "request_put": put(key, value, lease) }],
        });
        self.ask::<Value>("/v3/kv/txn", &body).await?;
        Ok(())
    }

    /// All keys with a prefix that ends with a slash, in pages.
    ///
    /// Each page is the newest, so that none of them can be compacted away. A watch from the first of them
    /// on tells what the others may have missed.
    pub(super) async fn list(&self, prefix: &str) -> Result<Listing, Failure> {
        let path = "/v3/kv/range";
        let mut body = range(prefix);
        body["limit"] = PAGE.to_string().into();
        let mut revision = None;
        let mut entries: Vec<Pair> = Vec::new();
        for _ in 0..PAGES_MAX {
            let (page, host) = self.ask::<RangeAnswer>(path, &body).await?;
            let now = page.header.revision;
            let revision = *revision.get_or_insert(now);
            if now < revision {
                let text = format!("etcd at {host}: it has forgotten what it said before");
                return Err(Failure::Member(text));
            }
            entries.extend(page.kvs);
            let Some(last) = entries.last().filter(|_| page.more) else {
                return Ok(Listing {
                    revision,
                    entries,
                    host,
                });
            };
            body["key"] = base64([&*last.key, &[0]].concat()).into();
        }
        let text = format!("etcd: more than {} keys with {prefix}", PAGES_MAX * PAGE);
        Err(Failure::Final(text))
    }
}

/// True if a member is there and agrees with the others.
pub(super) async fn check(host: &str, prefix: &str) -> Result<(), Failure> {
    let mut body = range(prefix);
    body["count_only"] = true.into();
    http::ask::<RangeAnswer>(host, "/v3/kv/range", &body).await?;
    Ok(())
}

/// What happens to the keys with a prefix from a revision on, as one member sees it.
pub(super) struct Watching(Lines);

impl Watching {
    pub(super) async fn start(host: &str, prefix: &str, revision: i64) -> Result<Self, Failure> {
        let mut create = range(prefix);
        create["start_revision"] = revision.to_string().into();
        let body = json!({ "create_request": create });
        http::post(host, "/v3/watch", &body, true).await.map(Self)
    }

    /// What it says next. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Told, Failure> {
        let told = self.0.next::<Streamed<WatchAnswer>>().await?;
        let told = told.ok_or_else(|| Failure::Member("etcd ended the watch".into()))?;
        let told = told.into_result()?;
        if told.canceled {
            return Ok(Told::Cancelled);
        }
        Ok(Told::Events(told.events))
    }
}

fn put(key: &str, value: &[u8], lease: i64) -> Value {
    json!({ "key": base64(key), "value": base64(value), "lease": lease.to_string() })
}

/// From the prefix to where its last slash would be the next character.
fn range(prefix: &str) -> Value {
    let end = format!("{}0", prefix.trim_end_matches('/'));
    json!({ "key": base64(prefix), "range_end": base64(end) })
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64.decode(text).map_err(de::Error::custom)
}

/// A 64-bit number, as a string or as it is.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Number(i64),
    }
    match Form::deserialize(deserializer)? {
        Form::Text(text) => text.parse().map_err(de::Error::custom),
        Form::Number(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken from etcd 3.4.23.
    #[test]
    fn answers_are_read_as_etcd_writes_them() {
        let range = r#"{"header":{"cluster_id":"15118495548433857066","member_id":"1","revision":"2","raft_term":"2"},"kvs":[{"key":"Zm9vL2E=","create_revision":"2","mod_revision":"2","version":"1","value":"aGVsbG8=","lease":"4111120143175531271"}],"count":"1"}"#;
        let range: RangeAnswer = serde_json::from_str(range).unwrap();
        assert_eq!(
            (range.header.revision, &*range.kvs[0].value),
            (2, &b"hello"[..])
        );
        let lease = r#"{"result":{"header":{"revision":"2"},"ID":"12345"}}"#;
        let lease: Streamed<LeaseAnswer> = serde_json::from_str(lease).unwrap();
        let lease = lease.into_result().unwrap();
        assert_eq!((lease.id, lease.ttl), (12345, 0));
        let told = r#"{"result":{"header":{"revision":"6"},"events":[{"kv":{"key":"Zm9vL2E=","value":"aGk="}},{"type":"DELETE","kv":{"key":"Zm9vL2E=","mod_revision":"3"}}]}}"#;
        let told: Streamed<WatchAnswer> = serde_json::from_str(told).unwrap();
        let told = told.into_result().unwrap();
        assert!(!told.events[0].is_delete() && told.events[1].is_delete());
        let over =
            r#"{"result":{"header":{"raft_term":"2"},"canceled":true,"compact_revision":"7"}}"#;
        let over: Streamed<WatchAnswer> = serde_json::from_str(over).unwrap();
        assert!(over.into_result().unwrap().canceled);
        let error =
            r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}"#;
        let error: Streamed<WatchAnswer> = serde_json::from_str(error).unwrap();
        let error = error.into_result().err().unwrap();
        assert!(error.to_string().contains("no leader"), "{error}");
    }

    #[test]
    fn a_range_is_of_one_prefix() {
        let range = range("rpc/greeter/");
        assert_eq!(range["key"], base64("rpc/greeter/"));
        assert_eq!(range["range_end"], base64("rpc/greeter0"));
    }
}
