//! S1-5: streams that cannot travel, told by their spelling.
use rpc::Streaming;

#[rpc::service]
trait Wrong {
    async fn two(&self, first: Streaming<u8>, second: Streaming<u16>) -> rpc::Result<()>;
    async fn nested(&self, both: (rpc::Streaming<u8>, Vec<Streaming<u8>>)) -> rpc::Result<()>;
    async fn replies(&self) -> rpc::Result<(Streaming<u8>, Streaming<u8>)>;
    async fn of_streams(&self, streams: Streaming<Streaming<u8>>) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn nobody_listens(&self, items: Streaming<u8>) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn nobody_answers(&self) -> rpc::Result<Streaming<u8>>;
}

fn main() {}
