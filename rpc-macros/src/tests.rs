//! Expansions, read by people: six shapes, and how long the smallest is.

use proc_macro2::TokenStream;
use quote::quote;

fn pretty(attribute: TokenStream, item: TokenStream) -> String {
    let tokens = crate::expand(attribute, item);
    let file = syn::parse2(tokens).expect("an expansion is Rust");
    prettyplease::unparse(&file)
}

fn one_method() -> TokenStream {
    quote! {
        /// Greets.
        pub trait Greeter {
            /// Greets one person.
            async fn hello(&self, name: String) -> rpc::Result<String>;
        }
    }
}

#[test]
fn one_method_is_short() {
    let lines = pretty(quote!(), one_method()).lines().count();
    assert!(lines < 200, "{lines} lines");
}

#[test]
fn shape_one_method() {
    insta::assert_snapshot!(pretty(quote!(), one_method()));
}

#[test]
fn shape_no_methods() {
    let item = quote!(
        trait Empty {}
    );
    insta::assert_snapshot!(pretty(quote!(), item));
}

#[test]
fn shape_options() {
    let item = quote! {
        pub(crate) trait Arith: Clone {
            #[rpc(name = "Multiply", idempotent)]
            #[rpc(timeout = "1.5s", hash = "b")]
            async fn multiply(&self, a: i64, b: i64) -> Result<i64, ArithError>;
            #[rpc(oneway)]
            async fn log(&self, line: String) -> rpc::Result<()>;
        }
    };
    let attribute = quote!(name = "math.Arith", crate = crate::inner);
    insta::assert_snapshot!(pretty(attribute, item));
}

#[test]
fn shape_references_and_raw_names() {
    let item = quote! {
        pub trait r#Type {
            async fn r#match(&self, r#type: &str, service: &[u8], one: &Item) -> Reply<Vec<u8>>;
            async fn keep(&self, lent: std::borrow::Cow<'_, Item>, cow: Cow<Item>) -> Reply<()>;
        }
    };
    insta::assert_snapshot!(pretty(quote!(), item));
}

#[test]
fn shape_cfg() {
    let item = quote! {
        #[cfg(unix)]
        pub trait Conditional {
            #[cfg(feature = "a")]
            async fn one(&self, it: A) -> rpc::Result<()>;
            #[cfg(feature = "b")]
            #[rpc(name = "one")]
            async fn other(&self) -> rpc::Result<()>;
        }
    };
    insta::assert_snapshot!(pretty(quote!(), item));
}

#[test]
fn shape_refused() {
    let item = quote! {
        pub trait Wrong {
            fn not_async(&self, (a, b): (u8, u8)) -> rpc::Result<()>;
            #[rpc(on_way)]
            async fn fine(&self) -> rpc::Result<()>;
        }
    };
    insta::assert_snapshot!(pretty(quote!(), item));
}

mod model {
    use syn::{ItemTrait, parse_quote};

    use crate::ast::{Service, text_of};
    use crate::attr::ServiceOptions;
    use crate::valid::Errors;

    fn model(item: &ItemTrait) -> Service {
        let mut errors = Errors::default();
        let options = ServiceOptions::parse(quote::quote!(), &mut errors);
        let service = Service::from_trait(item, &options, &mut errors);
        assert!(errors.is_empty(), "{}", errors.tokens());
        service
    }

    #[test]
    fn a_trait_is_read() {
        let service = model(&parse_quote! {
            /// One.
            ///
            /** Two.
             * Three. */
            trait Greeter {
                #[must_use]
                #[cfg(unix)]
                #[rpc(idempotent)]
                async fn r#type(&self, a: u8, r#b: &str) -> rpc::Result<()>;
            }
        });
        assert_eq!(service.name, "Greeter");
        assert_eq!(service.docs, "One.\n\nTwo.\nThree.");
        let method = &service.methods[0];
        assert_eq!((method.name.as_str(), method.attributes.len()), ("type", 2));
        assert_eq!(method.cfgs.len(), 1);
        assert!(method.idempotent && !method.oneway);
        let [a, b] = method.arguments.as_slice() else {
            panic!("two arguments, without `self`");
        };
        assert!(a.referent.is_none() && b.referent.is_some());
        assert_eq!((a.name().as_str(), b.name().as_str()), ("a", "b"));
    }

    #[test]
    fn a_type_is_printed_as_people_write_it() {
        for text in [
            "rpc::Result<Vec<u8>>",
            "Result<HashMap<String, Vec<(u8, [i32; 4])>>, my::Error>",
            "&[u8]",
            "&str",
            "Cow<'static, str>",
            "Box<dyn Fn(u8, &u8) -> ::core::primitive::str + Send>",
            "<A as B<Item = u8>>::C",
            "()",
            "(A,)",
            "[u8; N]",
            "*const u8",
        ] {
            assert_eq!(text_of(&syn::parse_str(text).unwrap()), text);
        }
    }
}
