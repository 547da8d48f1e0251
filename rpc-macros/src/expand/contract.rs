//! The trait, and what the type checker must agree to.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{ReturnType, Signature, Type, parse_quote_spanned};

use super::Names;
use crate::ast::{Argument, Method, Service};

/// The trait as written, with `Send` futures for `async fn`.
pub(super) fn tokens(service: &Service) -> TokenStream {
    let Service {
        attributes,
        visibility,
        ident,
        supertraits,
        ..
    } = service;
    let methods = service.methods.iter().map(|method| {
        let attributes = &method.attributes;
        let signature = returning_future(&method.signature);
        quote!(#(#attributes)* #signature;)
    });
    quote! {
        #(#attributes)*
        #visibility trait #ident:
            #(#supertraits +)* ::core::marker::Send + ::core::marker::Sync + 'static
        {
            #(#methods)*
        }
    }
}

/// `async fn f(..) -> R` as `fn f(..) -> impl Future<Output = R> + Send`.
///
/// Why not leave `async fn`? Its future is not known to be `Send`, so a caller generic over the
/// trait could not spawn it.
pub(crate) fn returning_future(signature: &Signature) -> Signature {
    let mut signature = signature.clone();
    if signature.asyncness.take().is_none() {
        return signature;
    }
    let output: Type = match &signature.output {
        ReturnType::Default => parse_quote_spanned!(signature.ident.span()=> ()),
        ReturnType::Type(_, ty) => Type::clone(ty),
    };
    let span = ours_at(output.span());
    signature.output = parse_quote_spanned! {span=>
        -> impl ::core::future::Future<Output = #output> + ::core::marker::Send
    };
    signature
}

/// A requirement for each type that travels, at the place where the user wrote it.
///
/// Naming an associated type states the requirement. Each is met by every type that can travel,
/// so a failure is one error in the words of the trait.
pub(super) fn assertions(service: &Service, names: &Names) -> TokenStream {
    let assertions = service.methods.iter().flat_map(|method| {
        let arguments = method.arguments.iter();
        let reply = reply_assertion(method, names);
        arguments
            .map(|argument| argument_assertion(argument, method, names))
            .chain([reply])
    });
    quote!(#(#assertions)*)
}

fn argument_assertion(argument: &Argument, method: &Method, names: &Names) -> TokenStream {
    let private = &names.private;
    let owned = owned_type(argument, names);
    let ty = argument.referent.as_ref().unwrap_or(&argument.written);
    assertion(
        method,
        ty.span(),
        &quote_spanned!(ours_at(ty.span())=> <#owned as #private::Message>::Itself),
    )
}

fn reply_assertion(method: &Method, names: &Names) -> TokenStream {
    let private = &names.private;
    let output = &method.output;
    let span = ours_at(output.span());
    let required = if method.oneway {
        quote_spanned!(span=> <#output as #private::OnewayOutcome>::Nothing)
    } else {
        quote_spanned!(span=> <#output as #private::Outcome>::Reply)
    };
    assertion(method, output.span(), &required)
}

fn assertion(method: &Method, span: Span, required: &TokenStream) -> TokenStream {
    let cfgs = &method.cfgs;
    quote_spanned! {ours_at(span)=>
        #(#cfgs)*
        const _: ::core::marker::PhantomData<fn() -> #required> = ::core::marker::PhantomData;
    }
}

/// The type that a server decodes for an argument.
pub(super) fn owned_type(argument: &Argument, names: &Names) -> TokenStream {
    let private = &names.private;
    match &argument.referent {
        Some(referent) => {
            let span = ours_at(referent.span());
            quote_spanned!(span=> <#referent as #private::OwnedForm>::Owned)
        }
        None => {
            let ty = &argument.written;
            quote!(#ty)
        }
    }
}

/// Points at the user's token without being taken for the user's code.
fn ours_at(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}
