//! Code from the interface description, by the framework's own generator, which is Rust.

fn main() {
    volo_build::Builder::thrift()
        .add_service("bench.thrift")
        .write()
        .expect("the description is correct");
}
