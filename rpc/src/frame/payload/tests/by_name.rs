//! Calls by name: JSON arguments by position and by name, and their errors.

use super::*;

fn body(text: &str, method: &'static Method) -> Result<Body, Error> {
    Body::new(text.as_bytes().to_vec(), Encoding::Json, Budget::default(), method, None)
}

fn arguments<A: DeserializeOwned>(text: &str, method: &'static Method) -> Result<A, Error> {
    decode_arguments(&body(text, method)?, method)
}

/// The text of the refusal.
fn refused<A: DeserializeOwned + std::fmt::Debug>(text: &str, method: &'static Method) -> String {
    let error = arguments::<A>(text, method).expect_err("these arguments must be refused");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::No), "{error}");
    error.message().to_owned()
}

#[test]
fn arguments_come_by_position_or_by_name() {
    let expected = (3u8, Currency::Other("CHF".into()));
    for text in [r#"[3, {"Other": "CHF"}]"#, r#"{"order": 3, "currency": {"Other": "CHF"}}"#, r#" {"currency": {"Other": "CHF"}, "order": 3} "#] {
        assert_eq!(arguments::<(u8, Currency)>(text, &PAY).expect("as the method wants it"), expected);
    }
    assert_eq!(arguments::<(u8, i64)>("[1, -2]", &RUN_TIME).expect("by position"), (1, -2));
    for text in ["[]", "{}", "null"] {
        arguments::<()>(text, &PING).expect("no arguments");
    }
}

#[test]
fn what_is_wrong_with_the_arguments_is_named() {
    type A = (u8, Currency);
    assert!(refused::<A>("[1]", &PAY).starts_with("pay: malformed arguments: expected 2 arguments (order, currency), got 1"));
    assert!(refused::<A>(r#"[1, "Usd", 3]"#, &PAY).starts_with("pay: malformed arguments: expected 2 arguments (order, currency), got 3"));
    assert!(refused::<(u8, u8)>("[1]", &RUN_TIME).starts_with("add: malformed arguments: expected 2 arguments, got 1"));
    assert!(refused::<()>("[1]", &PING).starts_with("ping: malformed arguments: expected 0 arguments, got 1"));
    assert!(refused::<A>("null", &PAY).starts_with("pay: malformed arguments: expected 2 arguments (order, currency), got 0"));
    assert!(refused::<A>(r#"{"order": 1}"#, &PAY).contains("missing argument `currency`"));
    assert!(refused::<A>(r#"{"order": 1, "curency": "Usd"}"#, &PAY).contains("unknown argument `curency`, expected 2 (order, currency)"));
    assert!(refused::<A>(r#"{"order": 1, "order": 2, "currency": "Usd"}"#, &PAY).contains("duplicate argument `order`"));
    assert!(refused::<A>(r#"[{"a": 1, "a": 2}, 1]"#, &PAY).contains("duplicate key `a`"));
    assert!(refused::<(u8, u8)>(r#"{"0": 1, "1": 2}"#, &RUN_TIME).contains("the arguments of this method have no names, expected an array"));
    assert!(refused::<A>("7", &PAY).contains("expected the arguments as an array or an object"));
    assert!(refused::<A>("[1, \"Usd\"] x", &PAY).contains("trailing characters"));
    assert!(refused::<A>("[1, ", &PAY).contains("EOF"));
    assert!(refused::<A>("", &PAY).contains("EOF"));
}

#[test]
fn an_error_says_where_it_is() {
    let order = serde_json::to_string(&Order::sample()).expect("an order");
    let text = refused::<(Order, Currency)>(&format!(r#"[{}, "Usd"]"#, order.replace(r#""qty":2"#, r#""qty":70000"#)), &PAY);
    assert_eq!(text, "pay: malformed arguments: $.order.lines[2].qty: invalid value: integer `70000`, expected u16");
    assert!(refused::<(u8, u8)>("[1, 300]", &RUN_TIME).contains("$[1]: invalid value: integer `300`, expected u8"));
    let text = refused::<(u8, Currency)>(r#"{"order": 1, "currency": "Gbp"}"#, &PAY);
    assert_eq!(text, "pay: malformed arguments: $.currency: unknown variant `Gbp`, expected one of `Usd`, `Eur`, `Other`");
    let error = decode_reply::<Vec<Line>>(br#"[{"sku":"a","qty":-1,"price":0}]"#, Encoding::Json, Budget::default()).expect_err("qty");
    assert!(error.message().starts_with("malformed reply: $[0].qty: invalid value"), "{error}");
}

#[test]
fn an_error_does_not_repeat_all_that_was_sent() {
    let long = "x".repeat(MIB);
    let text = refused::<(u8, Currency)>(&format!(r#"[1, "{long}"]"#), &PAY);
    assert!(text.len() < 300, "{text}");
    let text = refused::<(u8, Currency)>(&format!(r#"{{"{long}": 1}}"#), &PAY);
    assert!(text.len() < 300, "{text}");
    let text = refused::<(u8, BTreeMap<String, u8>)>(&format!(r#"[1, {{"{long}": -1}}]"#), &PAY);
    assert!(text.len() < 450, "{text}");
}

#[test]
fn numbers_keep_their_value() {
    let text = format!("[{}, {}]", u64::MAX, i64::MIN);
    assert_eq!(arguments::<(u64, i64)>(&text, &RUN_TIME).expect("in range"), (u64::MAX, i64::MIN));
    let text = format!("\"{}\"", u128::MAX);
    assert_eq!(decode_reply::<u128>(text.as_bytes(), Encoding::Json, Budget::default()).expect("in range"), u128::MAX);
    let error = decode_reply::<u128>(u128::MAX.to_string().as_bytes(), Encoding::Json, Budget::default()).expect_err("its digits are lost");
    assert!(error.message().contains("expected u128, as a string if it needs more than 64 bits"), "{error}");
    assert!(refused::<(u64, u64)>("[18446744073709551616, 1]", &RUN_TIME).contains("$[0]"));
    assert!(refused::<(u64, u64)>("[-1, 1]", &RUN_TIME).contains("$[0]"));
    assert!(refused::<(u64, u64)>("[1.5, 1]", &RUN_TIME).contains("$[0]"));
}

/// Conformance 36: depth_bomb, as JSON.
#[test]
fn json_nested_too_deep_is_refused() {
    let test = || {
        for open in ["[", r#"{"a":"#, r#"[{"a":["#] {
            let text = open.repeat(MIB / open.len());
            let error = body(&text, &NOTE).expect_err("too deep");
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.message().contains("Limits::max_depth") || error.message().contains("unknown argument"), "{error}");
        }
        let tree = format!("{}\"Leaf\"{}", r#"{"Node":"#.repeat(MIB), "}".repeat(MIB));
        assert!(
            decode_reply::<Tree>(tree.as_bytes(), Encoding::Json, Budget::default()).expect_err("too deep").message().contains("Limits::max_depth")
        );
    };
    std::thread::Builder::new().stack_size(2 * MIB).spawn(test).expect("a thread").join().expect("no panic");
}

/// Conformance 37: amplification, as JSON: what is parsed and what is decoded from it count together.
#[test]
fn json_has_the_same_budget() {
    let full = |element: &str| format!("[[{}{element}]]", format!("{element},").repeat(4 * MIB / (element.len() + 1) - 3));
    for element in ["0", "[]", "{}", r#"{"":0}"#, r#""""#, "null"] {
        let error = arguments::<(Wide,)>(&full(element), &NOTE).expect_err("too much");
        assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::No), "{element}: {error}");
        assert_eq!(error.message(), "note: arguments above the limit of 64 MiB when decoded (Limits::max_decoded)");
    }
    let nulls = format!("[{}null]", "null,".repeat(MIB - 1));
    assert_eq!(decode_reply::<Wide>(nulls.as_bytes(), Encoding::Json, Budget::default()).expect_err("too much").kind(), ErrorKind::TooLarge);
    let order = serde_json::to_string(&Order::sample()).expect("an order");
    let orders = format!("[[{}{order}]]", format!("{order},").repeat(MIB / order.len()));
    let (orders,): (Vec<Order>,) = arguments(&orders, &NOTE).expect("a mebibyte of orders");
    assert!(orders.iter().all(|order| *order == Order::sample()));
}

#[test]
fn maps_keep_their_keys() {
    let map = HashMap::from([(1u64, "a".to_owned()), (u64::MAX, "b".to_owned())]);
    let bytes = encoded(&(&map,), Encoding::Json);
    assert_eq!(arguments::<(HashMap<u64, String>,)>(std::str::from_utf8(&bytes).expect("JSON"), &NOTE).expect("a map").0, map);
}
