//! S1-5: only a trait is a service.
/// Docs.
#[rpc::service]
struct Wrong;

#[rpc::service]
impl Wrong {
    #[rpc::service]
    fn method() {}
}

#[rpc::service]
use std::fmt;

fn main() {
    let _: &dyn fmt::Debug = &1;
    Wrong::method();
}
