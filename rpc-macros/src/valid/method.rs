//! Refusals of one method.

use proc_macro2::Span;
use syn::{FnArg, Pat, PatType, Receiver, ReceiverKind, ReturnType, Signature, TraitItemFn, Type};

use super::{Errors, attributes, streams, types};
use crate::ast::{bare, is_unsized, received_cow};

/// Arguments travel as a tuple, and serde's tuples end somewhere.
const ARGUMENTS_MAX: usize = 12;

/// Checks everything about a method except its options and its name on the wire.
pub(crate) fn check(function: &TraitItemFn, oneway: bool, errors: &mut Errors) {
    let signature = &function.sig;
    attributes::check(&function.attrs, errors);
    attributes::check_of_method(&function.attrs, errors);
    check_qualifiers(signature, errors);
    check_generics(signature, errors);
    check_self(signature, errors);
    let arguments = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Receiver(_) => None,
        FnArg::Typed(typed) => Some(typed),
    });
    for (index, argument) in arguments.enumerate() {
        if index == ARGUMENTS_MAX {
            errors.push_at(
                argument,
                format!("a method takes at most {ARGUMENTS_MAX} arguments: put them in a struct"),
            );
        }
        check_argument(argument, errors);
    }
    check_output(signature, errors);
    streams::check(signature, oneway, errors);
    if let Some(body) = &function.default {
        errors.push(
            body.brace_token.span.open(),
            "a service method has no body: the client calls the other end",
        );
    }
}

fn check_qualifiers(signature: &Signature, errors: &mut Errors) {
    if signature.asyncness.is_none() {
        let name = &signature.ident;
        errors.push(
            signature.fn_token.span,
            format!("`{name}` must be an `async fn`: a call waits for the other end"),
        );
    }
    let mut refuse = |span: Span, what: &str| {
        errors.push(span, format!("a service method cannot be {what}"));
    };
    if let Some(token) = &signature.constness {
        refuse(token.span, "`const`");
    }
    match &signature.safety {
        syn::Safety::Unsafe(token) => refuse(token.span, "`unsafe`"),
        syn::Safety::Safe(token) => refuse(token.span, "`safe`"),
        _ => {}
    }
    if let Some(abi) = &signature.abi {
        refuse(abi.extern_token.span, "`extern`");
    }
    if let Some(variadic) = &signature.variadic {
        refuse(variadic.dots.spans[0], "variadic");
    }
}

fn check_generics(signature: &Signature, errors: &mut Errors) {
    for parameter in &signature.generics.params {
        errors.push_at(
            parameter,
            "a service method cannot be generic: the other end must know the types",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        errors.push(
            clause.where_token.span,
            "a service method cannot have a `where` clause",
        );
    }
}

fn check_self(signature: &Signature, errors: &mut Errors) {
    let Some(receiver) = signature.receiver() else {
        errors.push(
            signature.ident.span(),
            format!("`{}` must take `&self`", signature.ident),
        );
        return;
    };
    if let Some((span, reason)) = wrong_receiver(receiver) {
        errors.push(span, format!("a service method takes `&self`: {reason}"));
    }
}

fn wrong_receiver(receiver: &Receiver) -> Option<(Span, &'static str)> {
    let token = receiver.self_token.span;
    match &receiver.kind {
        ReceiverKind::Reference(_, None, None) => None,
        ReceiverKind::Reference(_, _, Some(mutability)) => Some((
            mutability.span,
            "calls run side by side, so none can have it alone",
        )),
        ReceiverKind::Reference(_, Some(lifetime), None) => Some((
            lifetime.span(),
            "a named lifetime means nothing to the other end",
        )),
        ReceiverKind::Typed(..) => Some((token, "a typed `self` does not reach the client")),
        _ => Some((
            token,
            "`self` by value would end the service with its first call",
        )),
    }
}

fn check_argument(argument: &PatType, errors: &mut Errors) {
    for attribute in &argument.attrs {
        if ["cfg", "cfg_attr", "rpc"]
            .iter()
            .any(|name| attribute.path().is_ident(name))
        {
            errors.push_at(
                &attribute.meta,
                "an argument of a service method is always there: put the attribute on the method",
            );
        }
    }
    let plain = matches!(
        &*argument.pat,
        Pat::Ident(pattern)
            if pattern.by_ref.is_none() && pattern.mutability.is_none() && pattern.subpat.is_none()
    );
    if !plain {
        errors.push_at(
            &argument.pat,
            "an argument of a service method needs a plain name: it is part of the description",
        );
    }
    match bare(&argument.ty) {
        Type::Reference(reference) => {
            if let Some(mutability) = &reference.mutability {
                errors.push(
                    mutability.span,
                    "an argument cannot be `&mut`: changes at the server do not come back",
                );
            }
            if let Some(lifetime) = &reference.lifetime {
                errors.push(
                    lifetime.span(),
                    "an argument cannot name a lifetime: it is decoded at the other end",
                );
            }
            types::check(&reference.elem, types::Place::Argument, errors);
        }
        ty => {
            let received = received_cow(ty);
            let ty = received.as_ref().unwrap_or(ty);
            if is_unsized(ty) {
                errors.push_at(
                    ty,
                    "an argument has a size: take a reference, such as `&str` or `&[u8]`, or what \
                     owns it, such as `String` or `Vec<u8>`",
                );
            }
            types::check(ty, types::Place::Argument, errors);
        }
    }
}

fn check_output(signature: &Signature, errors: &mut Errors) {
    match &signature.output {
        ReturnType::Default => errors.push(
            signature.ident.span(),
            "a method returns a `Result`, because a call can always fail",
        ),
        ReturnType::Type(_, ty) => types::check(ty, types::Place::Reply, errors),
    }
}
