//! What the type checker must agree to, one short error for each disagreement.
//!
//! Generated code names `<T as Travels>::Itself` where the user wrote `T`. Why not a bound? Its
//! error would quote this file; why not `Message` itself? Its parts would be reported one by one.

use super::{CallError, Message};

/// A type that can be an argument or a reply.
pub trait Travels {
    type Itself;
}
impl<T: Message> Travels for T {
    type Itself = T;
}

/// A type that can be the error of a method.
pub trait Fails {
    type Itself;
}
impl<E: CallError> Fails for E {
    type Itself = E;
}

/// A return type, whatever it holds.
#[diagnostic::on_unimplemented(
    message = "a method returns a `Result`, because a call can always fail",
    label = "expected `rpc::Result<..>` or `Result<.., E>`"
)]
pub trait Returned {
    type Reply;
    type Error;
}
impl<T, E> Returned for Result<T, E> {
    type Reply = T;
    type Error = E;
}

/// The return type of a oneway method, whatever its error.
#[diagnostic::on_unimplemented(
    message = "a oneway method returns `Result<(), ..>`: nobody waits for a reply",
    label = "expected `rpc::Result<()>` or `Result<(), E>`"
)]
pub trait OnewayReturned {
    type Error;
}
impl<E> OnewayReturned for Result<(), E> {
    type Error = E;
}
