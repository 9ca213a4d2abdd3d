//! The arguments of `#[service(..)]` and `#[rpc(..)]`: which are known, what their values look like.
//!
//! What may stand beside what is decided in `check`.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Token};

use crate::errors::Errors;

const OF_SERVICE: &str = "`name = \"..\"`, `lock = \"..\"`, `untested` and `crate = \"..\"`";
const OF_METHOD: &str = "`name = \"..\"`, `timeout = \"5s\"`, `idempotent`, `oneway`, `detached`, `spawn`, `blocking` and `slow_consumer = \"..\"`";

/// What stands in `#[service(..)]`.
#[derive(Default)]
pub(crate) struct ServiceArguments {
    /// The wire name, if it is not the trait's.
    pub(crate) name: Option<LitStr>,
    /// Where the library is, if not at `::rpc`.
    pub(crate) library: Option<Path>,
    /// The file that holds the wire contract, from the root of the user's package.
    pub(crate) lock: Option<LitStr>,
    /// No test finds out whether its types travel.
    pub(crate) untested: Option<Ident>,
}

/// What stands in the `#[rpc(..)]`s of a method. Flags are kept as written, so that errors can point at them.
#[derive(Default)]
pub(crate) struct MethodArguments {
    pub(crate) name: Option<LitStr>,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) idempotent: Option<Ident>,
    pub(crate) oneway: Option<Ident>,
    pub(crate) detached: Option<Ident>,
    pub(crate) spawn: Option<Ident>,
    pub(crate) blocking: Option<Ident>,
    pub(crate) slow_consumer: Option<SlowConsumer>,
}

/// What becomes of a stream whose consumer does not keep up.
pub(crate) struct SlowConsumer {
    pub(crate) written: LitStr,
    /// The name of the variant.
    pub(crate) variant: &'static str,
}

/// A deadline as written and as meant.
pub(crate) struct Timeout {
    pub(crate) milliseconds: u64,
}

impl ServiceArguments {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut arguments = Self::default();
        let mut library = None;
        for option in options(tokens, errors) {
            match option.name.to_string().as_str() {
                "name" => option.text(&mut arguments.name, errors),
                "lock" => option.text(&mut arguments.lock, errors),
                "untested" => option.flag(&mut arguments.untested, errors),
                "crate" => option.text(&mut library, errors),
                name => errors.at(&option.name, format!("unknown option `{name}`: a service has {OF_SERVICE}")),
            }
        }
        arguments.library = library.and_then(|library| match library.parse_with(Path::parse_mod_style) {
            Ok(path) => Some(path),
            Err(_) => {
                errors.at(&library, "write the path of the library, such as `crate = \"my_framework::rpc\"`");
                None
            }
        });
        arguments
    }
}

impl MethodArguments {
    /// Several `#[rpc(..)]` on one method count as one.
    pub(crate) fn parse<'a>(attributes: impl Iterator<Item = &'a Attribute>, errors: &mut Errors) -> Self {
        let mut arguments = Self::default();
        let (mut timeout, mut slow_consumer) = (None, None);
        for attribute in attributes {
            let Meta::List(list) = &attribute.meta else {
                errors.at(attribute, format!("write `#[rpc(..)]` with options: a method has {OF_METHOD}"));
                continue;
            };
            for option in options(list.tokens.clone(), errors) {
                match option.name.to_string().as_str() {
                    "name" => option.text(&mut arguments.name, errors),
                    "timeout" => option.text(&mut timeout, errors),
                    "slow_consumer" => option.text(&mut slow_consumer, errors),
                    "idempotent" => option.flag(&mut arguments.idempotent, errors),
                    "oneway" => option.flag(&mut arguments.oneway, errors),
                    "detached" => option.flag(&mut arguments.detached, errors),
                    "spawn" => option.flag(&mut arguments.spawn, errors),
                    "blocking" => option.flag(&mut arguments.blocking, errors),
                    name => errors.at(&option.name, format!("unknown option `{name}`: a method has {OF_METHOD}")),
                }
            }
        }
        arguments.slow_consumer = slow_consumer.and_then(|written| {
            let variant = match written.value().as_str() {
                "wait" => "Wait",
                "drop_oldest" => "DropOldest",
                "close" => "Close",
                other => {
                    errors.at(&written, format!("unknown choice `{other}`: write `wait`, `drop_oldest` or `close`"));
                    return None;
                }
            };
            Some(SlowConsumer { written, variant })
        });
        arguments.timeout = timeout.and_then(|text| match milliseconds(&text.value()) {
            Ok(milliseconds) => Some(Timeout { milliseconds }),
            Err(message) => {
                errors.at(text, message);
                None
            }
        });
        arguments
    }
}

/// `name` or `name = value`.
struct Named {
    name: Ident,
    value: Option<Expr>,
}

impl Parse for Named {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `crate` is an option, and a keyword.
        let name = Ident::parse_any(input)?;
        let value = if input.parse::<Option<Token![=]>>()?.is_some() {
            Some(input.parse()?)
        } else if input.peek(syn::token::Paren) {
            // Not a way to write any option: kept, so that the error can say which way is.
            Some(Expr::Verbatim(input.parse::<proc_macro2::Group>()?.into_token_stream()))
        } else {
            None
        };
        Ok(Self { name, value })
    }
}

impl Named {
    /// For `name = "text"`.
    fn text(self, slot: &mut Option<LitStr>, errors: &mut Errors) {
        let name = &self.name;
        match self.value {
            _ if slot.is_some() => errors.at(name, format!("`{name}` is set twice")),
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => *slot = Some(text),
            Some(value) => errors.at(value, format!("write a string: `{name} = \"..\"`")),
            None => errors.at(name, format!("`{name}` needs a value: write `{name} = \"..\"`")),
        }
    }

    /// For a word that stands alone.
    fn flag(self, slot: &mut Option<Ident>, errors: &mut Errors) {
        let name = self.name;
        match self.value {
            _ if slot.is_some() => errors.at(&name, format!("`{name}` is set twice")),
            Some(value) => errors.at(value, format!("`{name}` takes no value: write `{name}`")),
            None => *slot = Some(name),
        }
    }
}

fn options(tokens: TokenStream, errors: &mut Errors) -> Vec<Named> {
    match Punctuated::<Named, Token![,]>::parse_terminated.parse2(tokens) {
        Ok(options) => options.into_iter().collect(),
        Err(error) => {
            errors.add(error);
            Vec::new()
        }
    }
}

/// A year: longer than this is a mistake in the unit.
const LONGEST: u64 = 365 * 24 * 60 * 60 * 1000;

/// `"250ms"`, `"5s"`, `"2m"`, `"1h"`.
fn milliseconds(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => 0,
    };
    if number.is_empty() || scale == 0 {
        return Err(format!("`{text}` is not a duration: write a whole number and a unit, such as `250ms`, `5s`, `2m` or `1h`"));
    }
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale)) {
        Some(0) => Err("a timeout of zero would refuse every call: write a longer one, or leave it out".to_owned()),
        Some(milliseconds) if milliseconds <= LONGEST => Ok(milliseconds),
        _ => Err(format!("`{text}` is more than a year: write a shorter one, or leave it out")),
    }
}

/// Where the library is: `::rpc`, or what `crate = ".."` says.
pub(crate) fn library(arguments: &ServiceArguments) -> TokenStream {
    match &arguments.library {
        Some(path) => path.to_token_stream(),
        None => {
            let rpc = Ident::new("rpc", Span::call_site());
            quote::quote!(::#rpc)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        assert_eq!(milliseconds("250ms"), Ok(250));
        assert_eq!(milliseconds("5s"), Ok(5_000));
        assert_eq!(milliseconds("2m"), Ok(120_000));
        assert_eq!(milliseconds("1h"), Ok(3_600_000));
    }

    #[test]
    fn nonsense_is_not_a_duration() {
        for text in ["", "5", "s", "5 s", " 5s", "-5s", "1.5s", "5sec", "5S", "5µs", "five seconds"] {
            assert!(milliseconds(text).is_err_and(|message| message.contains("whole number")), "{text}");
        }
    }

    #[test]
    fn no_timeout_is_zero_or_longer_than_a_year() {
        assert!(milliseconds("0s").is_err_and(|message| message.contains("zero")));
        for text in ["8761h", "99999999999999999999h", "18446744073709551615h"] {
            assert!(milliseconds(text).is_err_and(|message| message.contains("year")), "{text}");
        }
    }
}
