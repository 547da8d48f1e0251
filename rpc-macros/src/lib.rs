//! The `#[service]` attribute.

use proc_macro::TokenStream;

/// Turns a trait into a service.
#[proc_macro_attribute]
pub fn service(_attribute: TokenStream, item: TokenStream) -> TokenStream {
    item
}
