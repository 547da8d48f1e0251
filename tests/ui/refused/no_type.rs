//! S1-5: arguments whose type the other end cannot know.
#[rpc::service]
trait Wrong {
    async fn opaque(&self, x: impl Copy) -> rpc::Result<()>;
    async fn object(&self, x: &dyn Send, y: Box<dyn Send>) -> rpc::Result<()>;
    async fn another(&self, x: Option<Self>) -> rpc::Result<()>;
    async fn inferred(&self, x: Vec<_>) -> rpc::Result<()>;
}

fn main() {}
