//! Names that meet the names of generated code.
#![deny(warnings)]
#![allow(non_camel_case_types, non_snake_case, dead_code)]

/// Everything that generated code might name without a path, as something else.
mod shadowed {
    pub struct Result;
    pub struct Option;
    pub struct Ok;
    pub struct Err;
    pub struct Some;
    pub struct String;
    pub struct Vec;
    pub struct Box;
    pub struct Arc;
    pub struct Service;
    pub struct Channel;
    pub struct Error;
    pub struct Duration;
    pub struct str;
    pub struct u32;
    pub trait Send {}
    pub trait Sync {}
    pub trait Sized {}
    pub trait Clone {}
    pub trait Debug {}
    pub trait Future {}
    pub trait AsRef {}
    pub mod core {}
    pub mod std {}
    pub mod alloc {}

    #[rpc::service]
    pub trait Shadowed {
        async fn bytes(&self, body: ::std::vec::Vec<u8>, text: &::core::primitive::str) -> rpc::Result<()>;
        #[rpc(oneway, timeout = "1s")]
        async fn oneway(&self) -> rpc::Result<()>;
    }
}

#[rpc::service]
trait S {
    async fn call(&self) -> rpc::Result<()>;
}
#[rpc::service]
trait T {
    async fn call(&self) -> rpc::Result<()>;
}
#[rpc::service]
trait Result {
    async fn call(&self) -> rpc::Result<()>;
}
#[rpc::service]
trait r#move {
    async fn call(&self) -> rpc::Result<()>;
}

/// Arguments with the names of generated variables.
#[rpc::service]
pub trait Arguments {
    async fn hello(
        &self,
        self_: u8,
        context: u8,
        args: u8,
        result: u8,
        call: u8,
        service: u8,
        channel: u8,
        method: u8,
        __T: u8,
        __service: u8,
    ) -> rpc::Result<u8>;
    async fn by_reference(&self, service: &str, call: &[u8], r#type: &u8) -> rpc::Result<u8>;
    async fn r#type(&self, r#type: u8, r#match: &str) -> rpc::Result<()>;
}

/// Methods with the names of generated or inherited ones.
#[rpc::service]
pub trait Methods {
    async fn new(&self) -> rpc::Result<()>;
    async fn connect(&self) -> rpc::Result<()>;
    async fn channel(&self) -> rpc::Result<()>;
    async fn clone(&self) -> rpc::Result<()>;
    async fn wire(&self) -> rpc::Result<()>;
    async fn unary(&self) -> rpc::Result<()>;
    async fn run(&self) -> rpc::Result<()>;
    async fn code(&self, a: u8) -> rpc::Result<()>;
    async fn dispatch(&self) -> rpc::Result<()>;
    async fn descriptor(&self) -> rpc::Result<()>;
    async fn service(&self) -> rpc::Result<()>;
    async fn methods(&self) -> rpc::Result<()>;
}

mod elsewhere {
    pub(crate) mod inner {
        pub use rpc::*;
    }
}

/// Another path to the crate, another name on the wire, supertraits that every client has.
#[rpc::service(name = "math.Arith", crate = elsewhere::inner)]
pub(crate) trait Arith: Send + std::fmt::Debug + Clone + 'static {
    #[rpc(name = "Multiply")]
    async fn multiply(&self, a: i64, b: i64) -> rpc::Result<i64>;
}

type Reply<V> = rpc::Result<std::collections::HashMap<String, V>>;
type Rpc = rpc::Result<()>;

/// No arguments, twelve arguments, aliases, tuples, arrays, paths.
#[rpc::service]
pub trait Shapes {
    async fn none(&self) -> Rpc;
    async fn twelve(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8) -> Rpc;
    async fn map(&self, of: (u8, [i32; 4]), name: std::borrow::Cow<'static, str>) -> Reply<Vec<u8>>;
    async fn lent(&self, a: std::borrow::Cow<'_, [u8]>, b: std::borrow::Cow<'_, str>) -> Rpc;
    async fn left_out(&self, a: std::borrow::Cow<[u8]>, b: std::borrow::Cow<str>) -> Rpc;
    async fn path(&self, path: &std::path::Path, one: &(u8, u8), many: &[(u8, u8)]) -> Rpc;
}

/// A type of the user's own that is named as one of the standard library's.
mod dairy {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Cow<T>(T);

    #[rpc::service]
    pub trait Dairy {
        async fn milk(&self, cow: Cow<u8>) -> rpc::Result<()>;
    }
}

/// Nothing to call.
#[rpc::service]
pub trait Empty {}

/// Only one of two is there.
#[rpc::service]
pub trait Conditional {
    #[cfg(all())]
    async fn one(&self) -> Rpc;
    #[cfg(any())]
    #[rpc(name = "one")]
    async fn other(&self) -> Rpc;
    #[cfg(any())]
    async fn absent(&self, of: NoSuchType) -> Rpc;
}

#[rpc::service]
#[cfg(any())]
pub trait Absent {
    async fn one(&self, of: NoSuchType) -> Rpc;
}

macro_rules! made_by_a_macro {
    ($name:ident, $argument:ident: $ty:ty) => {
        #[rpc::service]
        pub trait $name {
            async fn hello(&self, $argument: $ty, service: &str) -> rpc::Result<$ty>;
        }
    };
}
made_by_a_macro!(Made, name: String);

/// What a macro was given comes in groups that nobody sees.
macro_rules! made_of_parts {
    ($name:ident, $wire:literal, $krate:path, $docs:literal, $limit:literal, $($argument:ident: $ty:ty),*) => {
        #[rpc::service(name = $wire, crate = $krate)]
        pub trait $name {
            #[doc = $docs]
            #[rpc(timeout = $limit)]
            async fn hello(&self, $($argument: $ty),*) -> rpc::Result<()>;
        }
    };
}
made_of_parts!(Parts, "of.Parts", elsewhere::inner, "Docs.", "1s", a: &str, b: &[u8], c: std::borrow::Cow<'_, str>);

fn in_a_function() {
    #[rpc::service]
    trait First {
        async fn one(&self, it: Local) -> rpc::Result<Local>;
    }
    #[rpc::service]
    trait Second {
        async fn one(&self, it: &Local) -> rpc::Result<()>;
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Local;
    assert_eq!(FirstClient::DESCRIPTOR.name, "First");
    assert_eq!(SecondClient::DESCRIPTOR.name, "Second");
}

fn main() {
    in_a_function();
    assert_eq!(moveClient::DESCRIPTOR.name, "move");
    let raw = &ArgumentsClient::DESCRIPTOR.methods[2];
    assert_eq!(raw.name, "type");
    assert_eq!(raw.argument_names, ["type", "match"]);
    assert_eq!(ArithClient::DESCRIPTOR.name, "math.Arith");
    assert_eq!(ArithClient::DESCRIPTOR.methods[0].to_string(), "math.Arith.Multiply");
    assert_eq!(ConditionalClient::DESCRIPTOR.methods.len(), 1);
    assert_eq!(PartsClient::DESCRIPTOR.name, "of.Parts");
    let parts = &PartsClient::DESCRIPTOR.methods[0];
    assert_eq!(parts.docs, "Docs.");
    assert_eq!(parts.timeout, Some(std::time::Duration::from_secs(1)));
    assert_eq!(parts.argument_types, ["&str", "&[u8]", "std::borrow::Cow<'_, str>"]);
    let map = &ShapesClient::DESCRIPTOR.methods[2];
    assert_eq!(map.argument_types, ["(u8, [i32; 4])", "std::borrow::Cow<'static, str>"]);
    assert_eq!(map.reply, "Reply<Vec<u8>>");
}
