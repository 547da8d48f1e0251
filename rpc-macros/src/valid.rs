//! Refusals: what cannot work, in a sentence with the reason, at the user's tokens.
//!
//! Why not let rustc complain? It would complain about generated code. What only the type checker
//! can know (is this serde? is this a `Result`?) is asserted in `expand::contract` instead.

pub(crate) mod attributes;
pub(crate) mod method;
pub(crate) mod names;
mod parts;
mod streams;
mod types;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::spanned::Spanned as _;
use syn::{ItemTrait, TraitItem, TypeParamBound};

use crate::attr;

/// All mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Reports at one token.
    pub(crate) fn push(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(syn::Error::new(span, message));
    }

    /// Reports at all of these tokens.
    pub(crate) fn push_at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// One `compile_error!` for each mistake.
    pub(crate) fn tokens(&self) -> TokenStream {
        self.0
            .as_ref()
            .map_or_else(TokenStream::new, syn::Error::to_compile_error)
    }
}

/// Checks everything about a trait except its methods.
pub(crate) fn check_trait(item: &ItemTrait, errors: &mut Errors) {
    for attribute in item
        .attrs
        .iter()
        .filter(|attribute| attr::is_ours(attribute))
    {
        errors.push_at(
            &attribute.meta,
            "`#[rpc(..)]` goes on a method; options of the service go in `#[service(..)]`",
        );
    }
    attributes::check(&item.attrs, errors);
    if let Some(token) = &item.unsafety {
        errors.push(
            token.span,
            "a service trait cannot be `unsafe`: the generated client knows nothing of its rules",
        );
    }
    if let Some(token) = &item.modifiers.auto_token {
        errors.push(token.span, "a service trait cannot be `auto`");
    }
    for parameter in &item.generics.params {
        errors.push_at(
            parameter,
            "a service trait cannot be generic: both ends must know every type",
        );
    }
    if let Some(clause) = &item.generics.where_clause {
        errors.push(
            clause.where_token.span,
            "a service trait cannot have a `where` clause: the generated client implements it for any channel",
        );
    }
    for bound in &item.supertraits {
        check_supertrait(bound, errors);
    }
    for item in &item.items {
        check_item(item, errors);
    }
}

/// What every generated client implements, whatever the service.
const CLIENT_TRAITS: &[&str] = &["Send", "Sync", "Sized", "Debug", "Clone"];

/// Whether the generated client implements this supertrait.
pub(crate) fn fits_client(bound: &TypeParamBound) -> bool {
    match bound {
        TypeParamBound::Lifetime(lifetime) => lifetime.ident == "static",
        TypeParamBound::Trait(bound) => {
            let last = bound.path.segments.last();
            bound.maybe.is_none()
                && last.is_some_and(|last| CLIENT_TRAITS.iter().any(|name| last.ident == name))
        }
        _ => false,
    }
}

fn check_supertrait(bound: &TypeParamBound, errors: &mut Errors) {
    if !fits_client(bound) {
        let bound_text = bound.to_token_stream().to_string().replace(' ', "");
        errors.push_at(
            bound,
            format!(
                "the generated client cannot implement `{bound_text}`: a supertrait of a service is \
                 one of `Send`, `Sync`, `'static`, `Debug`, `Clone`"
            ),
        );
    }
}

fn check_item(item: &TraitItem, errors: &mut Errors) {
    let (span, what) = match item {
        TraitItem::Fn(_) => return,
        TraitItem::Const(item) => (item.ident.span(), "an associated constant"),
        TraitItem::Type(item) => (item.ident.span(), "an associated type"),
        TraitItem::Macro(item) => (item.mac.path.span(), "a macro"),
        other => (other.span(), "this"),
    };
    errors.push(
        span,
        format!("a service trait has only methods: {what} cannot be called over a network"),
    );
}
