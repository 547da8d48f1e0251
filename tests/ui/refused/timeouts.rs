//! S1-5: timeouts that mean nothing.
#[rpc::service]
trait Wrong {
    #[rpc(timeout = "0ms")]
    async fn zero(&self) -> rpc::Result<()>;
    #[rpc(timeout = "soon")]
    async fn nonsense(&self) -> rpc::Result<()>;
    #[rpc(timeout = "5")]
    async fn no_unit(&self) -> rpc::Result<()>;
    #[rpc(timeout = "25h")]
    async fn too_long(&self) -> rpc::Result<()>;
}

fn main() {}
