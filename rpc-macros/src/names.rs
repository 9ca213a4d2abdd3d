//! How things are called: on the wire, in generated code, and as text that tells types apart.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::ext::IdentExt;

/// `Shop` and `Server` to `ShopServer`.
pub(crate) fn joined(ident: &Ident, suffix: &str) -> Ident {
    format_ident!("{}{suffix}", ident.unraw(), span = ident.span())
}

/// `pay` to `__pay`: items of the hidden block, which must not shadow what the user's types name.
pub(crate) fn hidden(ident: &Ident) -> Ident {
    format_ident!("__{}", ident.unraw(), span = Span::call_site())
}

/// A name for a type parameter that occurs nowhere in these tokens: `S`, if it can be had.
pub(crate) fn unused(tokens: TokenStream) -> Ident {
    let mut taken = Vec::new();
    collect(tokens, &mut taken);
    let free = ["S", "Implementation", "__Implementation"].into_iter().find(|name| !taken.iter().any(|taken| taken == name));
    format_ident!("{}", free.unwrap_or("__S"))
}

fn collect(tokens: TokenStream, taken: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => taken.push(ident.unraw().to_string()),
            TokenTree::Group(group) => collect(group.stream(), taken),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Whether this word occurs in these tokens.
pub(crate) fn mentions(tokens: TokenStream, word: &Ident) -> bool {
    let mut words = Vec::new();
    collect(tokens, &mut words);
    let word = word.unraw().to_string();
    words.contains(&word)
}

/// The text of a type, the same however it was written: no spaces but between two words, and no comma before a closing `>`.
///
/// The compiler's own rendering will not do: it keeps some of the user's spaces, and changes between releases.
pub(crate) fn text(tokens: impl ToTokens) -> String {
    let mut text = String::new();
    write(tokens.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(comma) if comma.as_char() == ',' && matches!(tokens.peek(), Some(TokenTree::Punct(next)) if next.as_char() == '>') => {}
            TokenTree::Punct(punct) => text.push(punct.as_char()),
            TokenTree::Ident(word) => push_word(&word.unraw().to_string(), text),
            TokenTree::Literal(word) => push_word(&word.to_string(), text),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
        }
    }
}

fn push_word(word: &str, text: &mut String) {
    if text.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
        text.push(' ');
    }
    text.push_str(word);
}

/// Why this cannot be a wire name, if it cannot.
///
/// A call by name says `Shop.pay`: the last dot parts the two, so a service's name may have dots and a method's may not.
pub(crate) fn fault(name: &str, of_method: bool) -> Option<&'static str> {
    if name.is_empty() {
        Some("a wire name cannot be empty: write one, or leave the option out")
    } else if name.contains(|letter: char| letter.is_whitespace() || letter.is_control() || letter == '/') {
        Some("a wire name has no spaces, control characters or slashes")
    } else if of_method && name.contains('.') {
        Some("a method's wire name has no dot: the service's name already stands before it, as in `Shop.pay`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{fault, text, unused};
    use quote::quote;

    #[test]
    fn a_types_text_does_not_depend_on_how_it_was_spaced() {
        let spaced: proc_macro2::TokenStream = "Result < Vec< ( u8 , & str) > ,\n  io :: Error , >".parse().expect("tokens");
        let tight: proc_macro2::TokenStream = "Result<Vec<(u8,&str)>,io::Error>".parse().expect("tokens");
        assert_eq!(text(spaced), "Result<Vec<(u8,&str)>,io::Error>");
        assert_eq!(text(tight), "Result<Vec<(u8,&str)>,io::Error>");
        assert_eq!(text(quote!(Box<dyn Error>)), "Box<dyn Error>");
        assert_eq!(text(quote!(Cow<'_, [u8; 4]>)), "Cow<'_,[u8;4]>");
    }

    #[test]
    fn a_tuple_of_one_is_not_what_it_holds() {
        assert_ne!(text(quote!((u8,))), text(quote!((u8))));
    }

    #[test]
    fn the_type_parameter_avoids_the_users_names() {
        assert_eq!(
            unused(quote!(
                trait X {
                    fn f(&self, a: A);
                }
            )),
            "S"
        );
        assert_eq!(
            unused(quote!(
                trait X {
                    fn f(&self, a: Vec<S>);
                }
            )),
            "Implementation"
        );
    }

    #[test]
    fn only_a_services_name_has_dots() {
        assert_eq!(fault("shop.v1", false), None);
        assert!(fault("shop.v1", true).is_some());
        assert!(fault("", true).is_some());
        assert!(fault("a b", false).is_some());
    }
}
