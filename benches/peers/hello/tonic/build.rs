//! What `compile_protos` does, but for `protoc`, which reads the file: this stands for what it gives.
//! A program that is installed costs a build no time, so neither does this.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let method = MethodDescriptorProto {
        name: Some("Hello".to_owned()),
        input_type: Some(".hello.Request".to_owned()),
        output_type: Some(".hello.Reply".to_owned()),
        ..Default::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Greeter".to_owned()),
        method: vec![method],
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("hello.proto".to_owned()),
        package: Some("hello".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![message("Request", "name"), message("Reply", "greeting")],
        service: vec![service],
        ..Default::default()
    };
    tonic_prost_build::configure()
        .compile_fds(FileDescriptorSet { file: vec![file] })
        .expect("the code can be written");
}

/// With one field, a string.
fn message(name: &str, field: &str) -> DescriptorProto {
    let field = FieldDescriptorProto {
        name: Some(field.to_owned()),
        number: Some(1),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        json_name: Some(field.to_owned()),
        ..Default::default()
    };
    DescriptorProto {
        name: Some(name.to_owned()),
        field: vec![field],
        ..Default::default()
    }
}
