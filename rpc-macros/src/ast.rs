//! The typed model: what a service trait says, without its syntax.
//!
//! A [`Service`] is built even when something was refused, from the methods that were not: the
//! checks across methods then still run, and all errors come out together.

use std::time::Duration;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{
    Attribute, FnArg, GenericArgument, Ident, ItemTrait, Lifetime, Pat, Path, PathArguments,
    PathSegment, ReturnType, Signature, TraitItem, TraitItemFn, Type, TypeParamBound, Visibility,
};

use crate::attr::{self, MethodOptions, ServiceOptions};
use crate::valid::names::{self, Clash};
use crate::valid::{self, Errors};

/// A trait that is a service.
pub(crate) struct Service {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) ident: Ident,
    pub(crate) supertraits: Vec<TypeParamBound>,
    pub(crate) docs: String,
    /// The name on the wire.
    pub(crate) name: String,
    /// Where the `rpc` crate is.
    pub(crate) krate: Path,
    pub(crate) methods: Vec<Method>,
    /// Pairs of methods that may not both be compiled in.
    pub(crate) clashes: Vec<Clash>,
}

/// One method of a service.
pub(crate) struct Method {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) signature: Signature,
    pub(crate) docs: String,
    /// The name on the wire, and where the user wrote it.
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) output: Type,
    pub(crate) oneway: bool,
    pub(crate) idempotent: bool,
    pub(crate) timeout: Option<Duration>,
    /// The argument, by its place, that tells which server a call belongs to.
    pub(crate) hash_argument: Option<usize>,
}

/// One argument of a method, without `self`.
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    /// The type as written.
    pub(crate) written: Type,
    /// `T` of an argument written `&T`.
    pub(crate) referent: Option<Type>,
    /// Of one written otherwise: the type as the server has it.
    pub(crate) received: Type,
}

impl Service {
    /// Reads a trait, reporting all that is wrong with it.
    pub(crate) fn from_trait(
        item: &ItemTrait,
        options: &ServiceOptions,
        errors: &mut Errors,
    ) -> Self {
        valid::check_trait(item, errors);
        let name = match &options.name {
            Some(name) => name.value(),
            None => item.ident.unraw().to_string(),
        };
        let functions = item.items.iter().filter_map(|item| match item {
            TraitItem::Fn(function) => Some(function),
            _ => None,
        });
        let methods: Vec<_> = functions
            .filter_map(|function| Method::from_function(function, errors))
            .collect();
        let clashes = names::check_unique(&name, &methods, errors);
        Self {
            attributes: item.attrs.clone(),
            cfgs: attr::cfgs(&item.attrs),
            visibility: item.vis.clone(),
            ident: item.ident.clone(),
            supertraits: item.supertraits.iter().cloned().collect(),
            docs: attr::docs(&item.attrs),
            name,
            krate: options.krate.clone(),
            methods,
            clashes,
        }
    }
}

impl Method {
    fn from_function(function: &TraitItemFn, errors: &mut Errors) -> Option<Self> {
        let options = MethodOptions::parse(&function.attrs, errors);
        valid::method::check(function, options.oneway, errors);
        let signature = &function.sig;
        let ReturnType::Type(_, output) = &signature.output else {
            return None;
        };
        let (name, name_span) = match &options.name {
            Some(name) => (name.value(), name.span()),
            None => (signature.ident.unraw().to_string(), signature.ident.span()),
        };
        let arguments = signature.inputs.iter().filter_map(Argument::from_input);
        let arguments: Vec<_> = arguments.collect();
        let hash = options.hash.as_ref();
        Some(Self {
            attributes: (function.attrs.iter())
                .filter(|attribute| !attr::is_ours(attribute))
                .cloned()
                .collect(),
            cfgs: attr::cfgs(&function.attrs),
            signature: signature.clone(),
            docs: attr::docs(&function.attrs),
            name,
            name_span,
            hash_argument: hash.and_then(|hash| names::find_argument(hash, &arguments, errors)),
            arguments,
            output: Type::clone(output),
            oneway: options.oneway,
            idempotent: options.idempotent,
            timeout: options.timeout,
        })
    }

    pub(crate) fn ident(&self) -> &Ident {
        &self.signature.ident
    }
}

impl Argument {
    /// `None` for `self` and for what was refused.
    fn from_input(input: &FnArg) -> Option<Self> {
        let FnArg::Typed(typed) = input else {
            return None;
        };
        let Pat::Ident(pattern) = &*typed.pat else {
            return None;
        };
        let written = bare(&typed.ty).clone();
        let referent = match &written {
            Type::Reference(reference) => Some(Type::clone(&reference.elem)),
            _ => None,
        };
        Some(Self {
            ident: pattern.ident.clone(),
            received: received_cow(&written).unwrap_or_else(|| written.clone()),
            written,
            referent,
        })
    }

    /// The name on the wire.
    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }
}

/// A type without what stands around it: a `$ty:ty` of a macro comes in a group that nobody sees.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        _ => ty,
    }
}

/// `Cow<'static, T>` if this is `Cow<'_, T>`, or that with its lifetime left out: borrowed by the caller,
/// and owned by the handler.
pub(crate) fn received_cow(ty: &Type) -> Option<Type> {
    let mut ty = ty.clone();
    let Type::Path(path) = &mut ty else {
        return None;
    };
    let is_borrow = |segment: &PathSegment| segment.ident == "borrow";
    let is_of_std = path
        .path
        .segments
        .iter()
        .rev()
        .nth(1)
        .is_some_and(is_borrow);
    let last = path.path.segments.last_mut()?;
    let PathArguments::AngleBracketed(brackets) = &mut last.arguments else {
        return None;
    };
    if last.ident != "Cow" {
        return None;
    }
    match brackets.args.first_mut()? {
        GenericArgument::Lifetime(lifetime) if lifetime.ident == "_" => {
            *lifetime = Lifetime::new("'static", lifetime.span());
            Some(ty)
        }
        // A type of the user's may have this name, but it is not of what has no size.
        GenericArgument::Type(of) if is_of_std || is_unsized(of) => {
            let lifetime = Lifetime::new("'static", of.span());
            brackets.args.insert(0, GenericArgument::Lifetime(lifetime));
            Some(ty)
        }
        _ => None,
    }
}

/// Whether this is `str` or `[T]`, which stand behind a reference.
pub(crate) fn is_unsized(ty: &Type) -> bool {
    match bare(ty) {
        Type::Slice(_) => true,
        Type::Path(path) => path.path.is_ident("str"),
        _ => false,
    }
}

/// A type as a person writes it: `rpc::Result<Vec<u8>>`, not `rpc :: Result < Vec < u8 > >`.
pub(crate) fn text_of(ty: &Type) -> String {
    let mut text = String::new();
    write_tokens(ty.to_token_stream(), &mut text);
    text
}

fn write_tokens(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        let word_after_word = matches!(token, TokenTree::Ident(_) | TokenTree::Literal(_))
            && text.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ')'));
        let spaced_mark = !text.is_empty()
            && matches!(&token, TokenTree::Punct(mark) if "-+=".contains(mark.as_char()));
        let after_mark = text.ends_with([',', ';', '+', '=']) || text.ends_with("->");
        if word_after_word || spaced_mark || after_mark {
            text.push(' ');
        }
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write_tokens(group.stream(), text);
                text.push_str(close);
            }
            other => text.push_str(&other.to_string()),
        }
    }
}
