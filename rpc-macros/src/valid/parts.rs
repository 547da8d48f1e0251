//! What a type is made of, as far as it is written out.
//!
//! Why not syn's visitor? It knows all of the language, and takes longer to compile than all that is
//! done here.

use syn::{Expr, GenericArgument, Lifetime, NamedArg, Path, PathArguments, ReturnType, Type};

/// Something that stands in a type, or the type itself.
pub(super) enum Part<'a> {
    Type(&'a Type),
    Path(&'a Path),
    Lifetime(&'a Lifetime),
}

/// What is told of parts; false if nothing that stands inside of this one is wanted.
type Each<'a, 'b> = dyn FnMut(Part<'a>) -> bool + 'b;

/// Tells of a type, and then of what stands inside of it.
pub(super) fn walk<'a>(ty: &'a Type, each: &mut Each<'a, '_>) {
    if !each(Part::Type(ty)) {
        return;
    }
    match ty {
        Type::Array(array) => {
            walk(&array.elem, each);
            walk_constant(&array.len, each);
        }
        Type::FnPtr(function) => walk_function(&function.inputs, &function.output, each),
        Type::Group(group) => walk(&group.elem, each),
        Type::Paren(paren) => walk(&paren.elem, each),
        Type::Path(path) => {
            if let Some(own) = &path.qself {
                walk(&own.ty, each);
            }
            walk_path(&path.path, each);
        }
        Type::Ptr(pointer) => walk(&pointer.elem, each),
        Type::Reference(reference) => walk(&reference.elem, each),
        Type::Slice(slice) => walk(&slice.elem, each),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|ty| walk(ty, each)),
        _ => {}
    }
}

fn walk_path<'a>(path: &'a Path, each: &mut Each<'a, '_>) {
    if !each(Part::Path(path)) {
        return;
    }
    for segment in &path.segments {
        match &segment.arguments {
            PathArguments::None => {}
            PathArguments::AngleBracketed(brackets) => {
                brackets
                    .args
                    .iter()
                    .for_each(|one| walk_argument(one, each));
            }
            PathArguments::Parenthesized(function) => {
                walk_function(&function.inputs, &function.output, each);
            }
        }
    }
}

fn walk_argument<'a>(argument: &'a GenericArgument, each: &mut Each<'a, '_>) {
    match argument {
        GenericArgument::Lifetime(lifetime) => {
            each(Part::Lifetime(lifetime));
        }
        GenericArgument::Type(ty) => walk(ty, each),
        GenericArgument::Const(constant) => walk_constant(constant, each),
        GenericArgument::AssocType(associated) => walk(&associated.ty, each),
        _ => {}
    }
}

/// Of what can be computed, only what is named.
fn walk_constant<'a>(constant: &'a Expr, each: &mut Each<'a, '_>) {
    if let Expr::Path(named) = constant {
        walk_path(&named.path, each);
    }
}

fn walk_function<'a>(
    inputs: impl IntoIterator<Item = &'a NamedArg>,
    output: &'a ReturnType,
    each: &mut Each<'a, '_>,
) {
    inputs.into_iter().for_each(|input| walk(&input.ty, each));
    if let ReturnType::Type(_, ty) = output {
        walk(ty, each);
    }
}
