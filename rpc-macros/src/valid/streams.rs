//! Refusals of streams where none can travel.
//!
//! Only what can be told from the spelling `Streaming<..>`. A stream behind an alias or inside of a
//! struct is found when the message is encoded.

use syn::visit::{self, Visit};
use syn::{FnArg, PathSegment, ReturnType, Signature};

use super::Errors;

/// Refuses every stream of a oneway method, and a second one in either direction.
pub(super) fn check(signature: &Signature, oneway: bool, errors: &mut Errors) {
    let mut arguments = Streams::default();
    for input in &signature.inputs {
        if let FnArg::Typed(typed) = input {
            arguments.visit_type(&typed.ty);
        }
    }
    let mut reply = Streams::default();
    if let ReturnType::Type(_, output) = &signature.output {
        reply.visit_type(output);
    }
    if oneway {
        for stream in arguments.found.iter().chain(&reply.found) {
            errors.push(
                stream.ident.span(),
                "a oneway method has no streams: nothing comes back that could hold one up",
            );
        }
        return;
    }
    for second in arguments.found.iter().skip(1) {
        errors.push(
            second.ident.span(),
            "a call sends one stream: make its items an enum to send several kinds",
        );
    }
    for second in reply.found.iter().skip(1) {
        errors.push(
            second.ident.span(),
            "a reply has one stream: make its items an enum to send several kinds",
        );
    }
}

/// The streams in a type, in the order in which they are written.
#[derive(Default)]
struct Streams<'a> {
    found: Vec<&'a PathSegment>,
}

impl<'a> Visit<'a> for Streams<'a> {
    fn visit_path_segment(&mut self, segment: &'a PathSegment) {
        if segment.ident == "Streaming" && !segment.arguments.is_none() {
            self.found.push(segment);
        }
        visit::visit_path_segment(self, segment);
    }
}
