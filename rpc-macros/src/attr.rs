//! The options in `#[service(..)]` and `#[rpc(..)]`.
//!
//! Both are lists of `key` or `key = value`. A wrong entry is reported and skipped, so that one
//! compilation shows every mistake.

mod timeout;

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Token, parse_quote};

use crate::valid::{Errors, names};

/// What `#[service(..)]` says.
pub(crate) struct ServiceOptions {
    /// The name on the wire, if it is not the trait's.
    pub(crate) name: Option<LitStr>,
    /// Where the `rpc` crate is.
    pub(crate) krate: Path,
}

impl ServiceOptions {
    const KEYS: &[&str] = &["name", "crate"];

    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self {
            name: None,
            krate: parse_quote!(::rpc),
        };
        let mut seen = Seen::new("service", Self::KEYS);
        for Setting { key, value } in settings(tokens, errors) {
            if !seen.is_new(&key, errors) {
                continue;
            }
            match (key.unraw().to_string().as_str(), value) {
                ("name", Value::Text(name)) => {
                    names::check_service(&name, errors);
                    options.name = Some(name);
                }
                ("crate", Value::Path(path)) => options.krate = path,
                ("name", value) => errors.push(
                    value.span(&key),
                    "`name` takes a string: `name = \"math.Arith\"`",
                ),
                (_, value) => errors.push(
                    value.span(&key),
                    "`crate` takes a path: `crate = path::to::rpc`",
                ),
            }
        }
        options
    }
}

/// What the `#[rpc(..)]` attributes of one method say.
#[derive(Default)]
pub(crate) struct MethodOptions {
    /// The name on the wire, if it is not the method's.
    pub(crate) name: Option<LitStr>,
    pub(crate) oneway: bool,
    pub(crate) idempotent: bool,
    pub(crate) timeout: Option<Duration>,
    /// The argument that tells which server a call belongs to.
    pub(crate) hash: Option<LitStr>,
}

impl MethodOptions {
    const KEYS: &[&str] = &["name", "oneway", "idempotent", "timeout", "hash"];

    pub(crate) fn parse(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let mut seen = Seen::new("rpc", Self::KEYS);
        for attribute in attributes.iter().filter(|attribute| is_ours(attribute)) {
            let Meta::List(list) = &attribute.meta else {
                errors.push_at(
                    &attribute.meta,
                    format!("expected `#[rpc(..)]` with one or more of {}", seen.known()),
                );
                continue;
            };
            for Setting { key, value } in settings(list.tokens.clone(), errors) {
                if seen.is_new(&key, errors) {
                    options.set(&key, value, errors);
                }
            }
        }
        options
    }

    fn set(&mut self, key: &Ident, value: Value, errors: &mut Errors) {
        match (key.unraw().to_string().as_str(), value) {
            ("oneway", Value::None) => self.oneway = true,
            ("idempotent", Value::None) => self.idempotent = true,
            ("name", Value::Text(name)) => {
                names::check_method(&name, errors);
                self.name = Some(name);
            }
            ("timeout", Value::Text(text)) => match timeout::parse(&text.value()) {
                Ok(timeout) => self.timeout = Some(timeout),
                Err(reason) => errors.push(text.span(), reason),
            },
            ("hash", Value::Text(argument)) => self.hash = Some(argument),
            ("name", value) => errors.push(
                value.span(key),
                "`name` takes a string: `name = \"multiply\"`",
            ),
            ("timeout", value) => errors.push(
                value.span(key),
                "`timeout` takes a string: `timeout = \"500ms\"`",
            ),
            ("hash", value) => errors.push(
                value.span(key),
                "`hash` takes the name of an argument: `hash = \"user_id\"`",
            ),
            (_, value) => errors.push(value.span(key), format!("`{key}` takes no value")),
        }
    }
}

/// Whether an attribute is one that this macro reads and removes.
pub(crate) fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().is_ident("rpc")
}

/// The doc comment in these attributes, lines joined with `\n`.
pub(crate) fn docs(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        let Meta::NameValue(pair) = &attribute.meta else {
            continue;
        };
        let Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) = bare(&pair.value)
        else {
            continue;
        };
        if pair.path.is_ident("doc") {
            let text = text.value();
            let stars = has_stars(&text);
            lines.extend(text.lines().map(|line| doc_line(line, stars).to_owned()));
            if text.is_empty() {
                lines.push(String::new());
            }
        }
    }
    lines.join("\n").trim_matches('\n').to_owned()
}

/// True if this is a block of which each line begins with a star, but for the first. A line with a star
/// behind `///` is an item of a list.
fn has_stars(text: &str) -> bool {
    let mut rest = text.lines().skip(1).map(str::trim_start);
    let is_block = text.contains('\n');
    is_block && rest.all(|line| line.is_empty() || line.starts_with('*'))
}

/// A line of a doc comment without the space behind `///`, or the star of a block that has them.
fn doc_line(line: &str, stars: bool) -> &str {
    let line = line.trim_end();
    let line = line
        .trim_start()
        .strip_prefix('*')
        .filter(|_| stars)
        .unwrap_or(line);
    line.strip_prefix(' ').unwrap_or(line)
}

/// The `#[cfg(..)]` attributes among these: they go on everything made from their item.
pub(crate) fn cfgs(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .cloned()
        .collect()
}

/// `key` or `key = value`.
struct Setting {
    key: Ident,
    value: Value,
}

enum Value {
    None,
    Text(LitStr),
    Path(Path),
    Other(Expr),
}

impl Value {
    /// Where the value stands; the key's place if there is none.
    fn span(&self, key: &Ident) -> Span {
        match self {
            Self::None => key.span(),
            Self::Text(text) => text.span(),
            Self::Path(path) => path.span(),
            Self::Other(value) => value.span(),
        }
    }
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input
            .call(Ident::parse_any)
            .map_err(|error| syn::Error::new(error.span(), "expected `key` or `key = value`"))?;
        if input.peek(syn::token::Paren) {
            let message = format!("the value of `{key}` goes behind `=`: `{key} = ..`");
            return Err(input.error(message));
        }
        if input.parse::<Option<Token![=]>>()?.is_none() {
            let value = Value::None;
            return Ok(Self { key, value });
        }
        let fork = input.fork();
        if let Ok(path) = fork.call(Path::parse_mod_style)
            && (fork.is_empty() || fork.peek(Token![,]))
        {
            input.call(Path::parse_mod_style)?;
            let value = Value::Path(path);
            return Ok(Self { key, value });
        }
        let value = match bare(&input.parse()?) {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Value::Text(text.clone()),
            other => Value::Other(other.clone()),
        };
        Ok(Self { key, value })
    }
}

/// A value without what stands around it: a `$name:literal` of a macro comes in a group that nobody sees.
fn bare(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => bare(&group.expr),
        _ => value,
    }
}

fn settings(tokens: TokenStream, errors: &mut Errors) -> Vec<Setting> {
    match Punctuated::<Setting, Token![,]>::parse_terminated.parse2(tokens) {
        Ok(settings) => settings.into_iter().collect(),
        Err(error) => {
            errors.add(error);
            Vec::new()
        }
    }
}

/// The keys met so far in one attribute.
struct Seen {
    attribute: &'static str,
    known: &'static [&'static str],
    seen: Vec<String>,
}

impl Seen {
    fn new(attribute: &'static str, known: &'static [&'static str]) -> Self {
        let seen = Vec::new();
        Self {
            attribute,
            known,
            seen,
        }
    }

    /// Reports a key that is unknown or repeated.
    fn is_new(&mut self, key: &Ident, errors: &mut Errors) -> bool {
        let name = key.unraw().to_string();
        if !self.known.contains(&name.as_str()) {
            let (attribute, known) = (self.attribute, self.known());
            errors.push(
                key.span(),
                format!("unknown key `{name}` in `#[{attribute}(..)]`: known are {known}"),
            );
            return false;
        }
        if self.seen.contains(&name) {
            errors.push(key.span(), format!("`{name}` is given twice"));
            return false;
        }
        self.seen.push(name);
        true
    }

    fn known(&self) -> String {
        let quoted: Vec<_> = self.known.iter().map(|key| format!("`{key}`")).collect();
        quoted.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_star_is_left_out_only_where_it_is_no_item_of_a_list() {
        let list = [
            parse_quote!(#[doc = " Greets:"]),
            parse_quote!(#[doc = " * one"]),
            parse_quote!(#[doc = " * all"]),
        ];
        assert_eq!(docs(&list), "Greets:\n* one\n* all");
        let block = [parse_quote!(#[doc = "\n * Greets:\n *\n * * one\n * * all\n "])];
        assert_eq!(docs(&block), "Greets:\n\n* one\n* all");
        let plain = [parse_quote!(#[doc = "\n Greets:\n * one\n * all\n"])];
        assert_eq!(docs(&plain), "Greets:\n* one\n* all");
        let one = [parse_quote!(#[doc = " Greets. "])];
        assert_eq!(docs(&one), "Greets.");
    }
}
