//! S0-19: names that cannot stand on the wire, or stand there twice.
#[rpc::service(name = "")]
trait Empty {}

#[rpc::service(name = "white space")]
trait Spaced {}

#[rpc::service(name = "math..Arith")]
trait Dots {}

#[rpc::service]
trait Methods {
    #[rpc(name = "")]
    async fn empty(&self) -> rpc::Result<()>;
    #[rpc(name = "a b")]
    async fn spaced(&self) -> rpc::Result<()>;
    #[rpc(name = "a.b")]
    async fn dotted(&self) -> rpc::Result<()>;
    #[rpc(name = "a\u{7}")]
    async fn bell(&self) -> rpc::Result<()>;
}

fn main() {}
