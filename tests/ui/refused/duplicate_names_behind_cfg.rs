//! S0-19: two methods of the same name on the wire, both behind a `cfg` that holds.
#[rpc::service]
trait Wrong {
    #[cfg(all())]
    async fn add(&self) -> rpc::Result<()>;
    #[cfg(not(any()))]
    #[rpc(name = "add")]
    async fn plus(&self) -> rpc::Result<()>;
}

fn main() {}
