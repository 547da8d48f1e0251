//! S1-5: `hash` that names nothing.
#[rpc::service]
trait Wrong {
    #[rpc(hash = "user")]
    async fn unknown(&self, user_id: u64, text: String) -> rpc::Result<()>;
    #[rpc(hash = "user_id")]
    async fn none(&self) -> rpc::Result<()>;
    #[rpc(hash)]
    async fn no_name(&self, user_id: u64) -> rpc::Result<()>;
    #[rpc(hash = user_id)]
    async fn no_text(&self, user_id: u64) -> rpc::Result<()>;
}

fn main() {}
