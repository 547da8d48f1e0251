//! The trait, and what the type checker must agree to.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Ident, ReturnType, Signature, Type, parse_quote_spanned};

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
/// Naming an associated type states the requirement; a failure is one error in its words. It is
/// named in a field because fields are checked once, and in a struct of its own because rustc
/// reports a requirement once for each item.
pub(super) fn assertions(service: &Service, names: &Names) -> TokenStream {
    let assertions = service.methods.iter().map(|method| {
        let cfgs = &method.cfgs;
        let ident = format_ident!("__Types_{}", method.ident().unraw());
        let types = (method.arguments.iter())
            .map(|argument| argument_assertion(argument, names))
            .chain(reply_assertions(method, names));
        let fields = (0..).map(|index| format_ident!("_{index}"));
        let fields = fields.zip(types).map(|(field, ty)| quote!(#field: #ty));
        quote!(#(#cfgs)* struct #ident { #(#fields),* })
    });
    quote!(#(#assertions)*)
}

fn argument_assertion(argument: &Argument, names: &Names) -> TokenStream {
    let private = &names.private;
    let place = Place::of(argument.referent.as_ref().unwrap_or(&argument.written));
    let owned = owned_type(argument, names);
    place.name(&owned, &quote!(#private::Travels), "Itself")
}

fn reply_assertions(method: &Method, names: &Names) -> Vec<TokenStream> {
    let private = &names.private;
    let output = method.output.to_token_stream();
    let place = Place::of(&method.output);
    let error_of = |returned| {
        let error = place.name(&output, returned, "Error");
        place.name(&error, &quote!(#private::Fails), "Itself")
    };
    if method.oneway {
        return vec![error_of(&quote!(#private::OnewayReturned))];
    }
    let returned = quote!(#private::Returned);
    let reply = place.name(&output, &returned, "Reply");
    let reply = place.name(&reply, &quote!(#private::Travels), "Itself");
    vec![reply, error_of(&returned)]
}

/// Where the user wrote a type: generated tokens that stand there are reported as the user's.
struct Place {
    first: Span,
    last: Span,
}

impl Place {
    fn of(ty: &Type) -> Self {
        let mut tokens = ty.to_token_stream().into_iter();
        let first = tokens
            .next()
            .map_or_else(Span::call_site, |token| token.span());
        let last = tokens.last().map_or(first, |token| token.span());
        Self { first, last }
    }

    /// `<ty as required>::item`, from the first to the last token of the user's type.
    fn name(&self, ty: &TokenStream, required: &TokenStream, item: &str) -> TokenStream {
        let open = quote_spanned!(self.first=> <);
        let item = Ident::new(item, self.last);
        quote!(#open #ty as #required>::#item)
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
            let ty = &argument.received;
            quote!(#ty)
        }
    }
}

/// Points at the user's token without being taken for the user's code.
fn ours_at(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}
