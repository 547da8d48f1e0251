//! Refusals of streams where none can travel.
//!
//! Only what can be told from the spelling `Streaming<..>`. A stream behind an alias or inside of a
//! struct is found when the message is encoded.

use syn::{FnArg, PathSegment, ReturnType, Signature, Type};

use super::Errors;
use super::parts::{Part, walk};

/// Refuses every stream of a oneway method, and a second one in either direction.
pub(super) fn check(signature: &Signature, oneway: bool, errors: &mut Errors) {
    let mut arguments = Vec::new();
    for input in &signature.inputs {
        if let FnArg::Typed(typed) = input {
            find(&typed.ty, &mut arguments);
        }
    }
    let mut reply = Vec::new();
    if let ReturnType::Type(_, output) = &signature.output {
        find(output, &mut reply);
    }
    if oneway {
        for stream in arguments.iter().chain(&reply) {
            errors.push(
                stream.ident.span(),
                "a oneway method has no streams: nothing comes back that could hold one up",
            );
        }
        return;
    }
    for second in arguments.iter().skip(1) {
        errors.push(
            second.ident.span(),
            "a call sends one stream: make its items an enum to send several kinds",
        );
    }
    for second in reply.iter().skip(1) {
        errors.push(
            second.ident.span(),
            "a reply has one stream: make its items an enum to send several kinds",
        );
    }
}

/// Finds the streams in a type, in the order in which they are written.
fn find<'a>(ty: &'a Type, found: &mut Vec<&'a PathSegment>) {
    walk(ty, &mut |part| {
        if let Part::Path(path) = part {
            let is_stream =
                |one: &&PathSegment| one.ident == "Streaming" && !one.arguments.is_none();
            found.extend(path.segments.iter().filter(is_stream));
        }
        true
    });
}
