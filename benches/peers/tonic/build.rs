//! Code from the `.proto` file, by protox instead of `protoc`: nothing to install.

fn main() {
    let file = "../proto/bench.proto";
    println!("cargo::rerun-if-changed={file}");
    let files = protox::compile([file], ["../proto"]).expect("the file is correct");
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(files)
        .expect("the code can be written");
}
