//! Code from the `.proto` file: protox reads it instead of `protoc`, the framework's own generator
//! writes.

use std::env;
use std::path::Path;

use buffa_codegen::BytesRepr;
use connectrpc_build::CodeGenConfig;
use prost::Message;

fn main() {
    let file = "../proto/bench.proto";
    println!("cargo::rerun-if-changed={file}");
    let files = protox::compile([file], ["../proto"]).expect("the file is correct");
    let folder = env::var_os("OUT_DIR").expect("Cargo says where to write");
    let set = Path::new(&folder).join("bench.bin");
    std::fs::write(&set, files.encode_to_vec()).expect("the folder can be written to");
    let mut messages = CodeGenConfig::default();
    messages.bytes_fields = vec![(".".to_owned(), BytesRepr::Bytes)];
    connectrpc_build::Config::new()
        .buffa_config(messages)
        .files(&["bench.proto"])
        .descriptor_set(set)
        .generate_json(false)
        .include_file("_connectrpc.rs")
        .compile()
        .expect("the code can be written");
}
