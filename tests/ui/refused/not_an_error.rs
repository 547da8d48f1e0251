//! S1-5: errors without a place for a failed call, or that do not travel.
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct NoStatus;

impl std::fmt::Display for NoStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no status")
    }
}

#[derive(Serialize, Deserialize)]
struct NoDisplay;

impl From<rpc::Status> for NoDisplay {
    fn from(_: rpc::Status) -> Self {
        Self
    }
}

struct NoSerde;

impl std::fmt::Display for NoSerde {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no serde")
    }
}

impl From<rpc::Status> for NoSerde {
    fn from(_: rpc::Status) -> Self {
        Self
    }
}

#[rpc::service]
trait Wrong {
    async fn status(&self) -> Result<(), NoStatus>;
    async fn display(&self) -> Result<(), NoDisplay>;
    async fn serde(&self) -> Result<(), NoSerde>;
    async fn text(&self) -> Result<(), String>;
    #[rpc(oneway)]
    async fn oneway(&self) -> Result<(), NoStatus>;
}

fn main() {}
