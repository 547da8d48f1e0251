//! S1-5: a reply that is not a `Result`, and a oneway method with a reply.
type Name = String;

#[rpc::service]
trait Wrong {
    async fn text(&self) -> String;
    async fn alias(&self) -> Name;
    async fn unit(&self) -> ();
    async fn option(&self) -> Option<u8>;
    #[rpc(oneway)]
    async fn answered(&self) -> rpc::Result<u8>;
    #[rpc(oneway)]
    async fn oneway_text(&self) -> String;
}

fn main() {}
