//! S0-19: two methods of the same name, in Rust or on the wire, and two names with one id.
#[rpc::service]
trait Wrong {
    async fn add(&self, a: i32) -> rpc::Result<i32>;
    async fn add(&self, a: i32, b: i32) -> rpc::Result<i32>;
    async fn subtract(&self) -> rpc::Result<()>;
    #[rpc(name = "subtract")]
    async fn minus(&self) -> rpc::Result<()>;
    #[cfg(all())]
    #[rpc(name = "subtract")]
    async fn behind_cfg(&self) -> rpc::Result<()>;
}

#[rpc::service]
trait Clash {
    async fn list_key_one(&self) -> rpc::Result<()>;
    async fn read_pages_name_by_id(&self) -> rpc::Result<()>;
}

fn main() {}
