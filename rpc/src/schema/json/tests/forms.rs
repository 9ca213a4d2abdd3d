//! Texts that stand for parts: what is taken, what is refused, and that types which only look like these lose nothing.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;

const UUID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

#[test]
fn durations() {
    let read = |text: &str| read::<Duration>(&format!("{text:?}")).ok();
    assert_eq!(read("0s"), Some(Duration::ZERO));
    assert_eq!(read("1h2m3.000000004s"), Some(Duration::new(3723, 4)));
    assert_eq!(read("1.5h"), Some(Duration::from_secs(5400)));
    assert_eq!(read("1500us"), read("1.5ms"));
    assert_eq!(read("2µs"), Some(Duration::from_nanos(2000)));
    assert_eq!(read("18446744073709551615.999999999s"), Some(Duration::MAX));
    for bad in [
        "",
        "1",
        "s",
        "-1s",
        "1.s",
        ".5s",
        "1.2.3s",
        "1d",
        "1 s",
        "0.5ns",
        "18446744073709551616s",
        "99999999999999999999999999999999999999999h",
        "1s2",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
    assert_eq!(refusal::<Duration>("\"soon\""), "malformed reply: invalid value: string \"soon\", expected a duration such as 1.5s");
    assert!(refusal::<Duration>("5").contains("invalid type: integer `5`, expected struct Duration"));
}

#[test]
fn times_of_day_and_leap_years() {
    let nodes = [Node::U64, Node::U32, structure("SystemTime", &[("secs_since_epoch", 0), ("nanos_since_epoch", 1)])];
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(by_schema(&nodes, &at(seconds)).expect("a time"), format!("{text:?}"));
        assert_eq!(read::<SystemTime>(&format!("{text:?}")).expect(text), at(seconds));
    }
    // After the last year that RFC 3339 can tell: its parts, which are read as well.
    let late = by_schema(&nodes, &at(253_402_300_800)).expect("a time");
    assert_eq!(late, r#"{"secs_since_epoch":253402300800,"nanos_since_epoch":0}"#);
    assert_eq!(read::<SystemTime>(&late).expect("parts"), at(253_402_300_800));
    for bad in [
        "2023-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-00-01T00:00:00Z",
        "2024-01-00T00:00:00Z",
        "2024-01-01T24:00:00Z",
    ]
    .into_iter()
    .chain([
        "1969-12-31T23:59:59Z",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00+1:00",
        "+2024-01-01T00:00:00Z",
    ])
    .chain(["2024-01-01T00:00:00Zx", "", "ß024-01-01T00:00:00Z", "2024-01-01T00:00:60Z", "2024-01-01T00:00:00.1234567890Z"])
    {
        assert!(read::<SystemTime>(&format!("{bad:?}")).is_err(), "{bad}");
    }
}

/// Every day of 20 leap cycles, beside the crate `time`.
#[test]
fn dates_are_those_of_the_calendar() {
    let nodes = [Node::I32, Node::U16, Node::Tuple(vec![0, 1]), logical("time::date::Date", 2)];
    let mut date = time::macros::date!(1890 - 01 - 01);
    for _ in 0..29_220 {
        let text = by_schema(&nodes, &date).expect("a date");
        assert_eq!(text, format!("\"{:04}-{:02}-{:02}\"", date.year(), u8::from(date.month()), date.day()));
        assert_eq!(read::<time::Date>(&text).expect("a date"), date);
        let noon = format!("\"{}T12:00:00Z\"", &text[1..11]);
        if date.year() >= 1970 {
            let seconds = date.midnight().assume_utc().unix_timestamp() as u64 + 43_200;
            assert_eq!(read::<SystemTime>(&noon).expect("a time"), SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        }
        date = date.next_day().expect("not the last");
    }
}

/// What a table says of itself is not believed: numbers that no date has neither panic nor take for ever.
#[test]
fn parts_that_no_calendar_has_stay_parts() {
    let nodes = [Node::I64, Node::Tuple(vec![0, 0]), logical("time::date::Date", 1)];
    for ordinal in [0, 367, i64::MAX, i64::MIN] {
        let json: Vec<serde_json::Value> = serde_json::from_str(&by_schema(&nodes, &(2026_i64, ordinal)).expect("parts")).expect("JSON");
        assert_eq!(json[0], 2026);
    }
    let nodes = [Node::I64, Node::Tuple(vec![0; 9]), logical("time::OffsetDateTime", 1)];
    for (hours, minutes) in [(i64::MAX, 0), (i64::MIN, 0), (1, i64::MAX), (i64::from(i32::MAX), 0)] {
        let parts = (2026_i64, 31_i64, 12_i64, 0_i64, 0_i64, 0_i64, hours, minutes, 0_i64);
        assert!(by_schema(&nodes, &parts).expect("parts").starts_with("[2026,31,12,0,0,0,"), "{parts:?}");
    }
}

#[test]
fn base64_of_every_length() {
    let bytes: Vec<u8> = (0..=255).rev().collect();
    for length in 0..bytes.len() {
        let value = serde_bytes::ByteBuf::from(&bytes[..length]);
        let text = typed(&value);
        assert_eq!(text, by_schema(&[Node::Bytes], &value).expect("bytes"));
        assert_eq!(read::<serde_bytes::ByteBuf>(&text).expect("base64"), value);
        assert_eq!(read::<serde_bytes::ByteBuf>(&text.replace('=', "").replace('+', "-").replace('/', "_")).expect("the other alphabet"), value);
        assert_eq!(typed(&crate::Bytes::copied(&value)), text);
        assert_eq!(read::<crate::Bytes>(&text).expect("base64"), value[..]);
        assert_eq!(read::<crate::Bytes>(&format!("{:?}", &value[..])).expect("an array"), value[..]);
        assert_eq!(read::<Vec<u8>>(&text).expect("base64"), value.into_vec());
    }
    assert_eq!(typed(serde_bytes::Bytes::new(b"light w")), "\"bGlnaHQgdw==\"");
    for bad in ["A", "A===", "AA=", "AAA==", "AB==", "AAB=", "A*AA", "AA==AA==", "ßß", " AAA", "====", "AAAA="] {
        assert!(read::<serde_bytes::ByteBuf>(&format!("{bad:?}")).is_err(), "{bad}");
    }
    assert!(refusal::<serde_bytes::ByteBuf>("[1, 256]").contains("$[1]: invalid value: integer `256`, expected u8"));
    assert!(refusal::<serde_bytes::ByteBuf>("{}").contains("expected bytes as an array of numbers or as base64"));
}

#[test]
fn texts_are_keys_too() {
    let uuids = HashMap::from([(UUID.parse::<Uuid>().expect("one"), 1_u8)]);
    let text = format!("{{\"{UUID}\":1}}");
    assert_eq!(typed(&uuids), text);
    assert_eq!(read::<HashMap<Uuid, u8>>(&text).expect("a map"), uuids);
    let nodes = [Node::Bytes, logical("uuid::Uuid", 0), Node::U8, Node::Map(1, 2)];
    assert_eq!(by_schema(&nodes, &uuids).expect("a map"), text);

    let addresses = BTreeMap::from([(Ipv4Addr::LOCALHOST, 1_u8)]);
    assert_eq!(read::<BTreeMap<Ipv4Addr, u8>>(&typed(&addresses)).expect("a map"), addresses);
    let addresses = BTreeMap::from([(IpAddr::from([127, 0, 0, 1]), 1_u8)]);
    assert_eq!(typed(&addresses), r#"{"127.0.0.1":1}"#);
    assert_eq!(read::<BTreeMap<IpAddr, u8>>(&typed(&addresses)).expect("a map"), addresses);
    let wide = BTreeMap::from([(u64::MAX, 1_u8), (1, 2)]);
    assert_eq!(typed(&wide), r#"{"1":2,"18446744073709551615":1}"#);
    assert_eq!(read::<BTreeMap<u64, u8>>(&typed(&wide)).expect("a map"), wide);
    let wider = BTreeMap::from([(i128::MIN, 1_u8), (-1, 2)]);
    assert_eq!(read::<BTreeMap<i128, u8>>(&typed(&wider)).expect("a map"), wider);
}

#[test]
fn without_a_schema_addresses_and_uuids_are_texts() {
    let uuid: Uuid = UUID.parse().expect("one");
    assert_eq!(typed(&(uuid, Some(uuid), vec![&uuid])), format!(r#"["{UUID}","{UUID}",["{UUID}"]]"#));
    assert_eq!(typed(&Ok::<_, ()>(uuid)), format!(r#"{{"Ok":"{UUID}"}}"#));
    let socket = SocketAddr::from(([1, 2, 3, 4], 5));
    assert_eq!(typed(&(socket, Ipv4Addr::LOCALHOST)), r#"["1.2.3.4:5","127.0.0.1"]"#);
    assert_eq!(typed(&Duration::from_millis(1500)), r#"{"secs":1,"nanos":500000000}"#);
    assert_eq!(read::<SocketAddrV4>("\"1.2.3.4:5\"").expect("an address"), "1.2.3.4:5".parse().expect("one"));
    assert_eq!(read::<SocketAddr>(r#"{"V4":["1.2.3.4",5]}"#).expect("an address"), socket);
    assert_eq!(read::<SocketAddr>(r#"{"V4":[[1,2,3,4],5]}"#).expect("an address"), socket);
}

#[test]
fn wide_numbers_keep_every_digit() {
    for value in [0, 1, 1 << 53, (1 << 53) + 1, u64::MAX] {
        for text in [typed(&value), by_schema(&[Node::U64], &value).expect("a number"), format!("{value}"), format!("\"{value}\"")] {
            assert_eq!(read::<u64>(&text).expect("a number"), value);
        }
        assert_eq!(typed(&value).starts_with('"'), value > 1 << 53);
        assert_eq!(typed(&u128::from(value)), typed(&value));
    }
    for value in [i64::MIN, -(1 << 53) - 1, -(1 << 53), -1] {
        for text in [typed(&value), by_schema(&[Node::I64], &value).expect("a number"), format!("{value}"), format!("\"{value}\"")] {
            assert_eq!(read::<i64>(&text).expect("a number"), value);
        }
        assert_eq!(typed(&i128::from(value)), typed(&value));
    }
    for bad in ["\"+1\"", "\" 1\"", "\"1 \"", "\"\"", "\"1.0\"", "\"0x1\"", "\"18446744073709551616\"", "\"-1\"", "1.0", "-1", "true"] {
        assert!(read::<u64>(bad).is_err(), "{bad}");
    }
    assert!(read::<u32>("\"1\"").is_err(), "narrow numbers are numbers");
    assert!(read::<f64>("\"1\"").is_err(), "floats are numbers");
}

/// The book's own example, and other namesakes.
/// As serde_json hands numbers over once some crate of the build has asked for `arbitrary_precision`.
#[test]
fn a_number_that_is_none_in_any_type_is_no_nan() {
    let exact = |digits: &str| format!(r#"{{"$serde_json::private::Number":"{digits}"}}"#);
    assert_eq!(read::<f64>(&exact("1.5")).expect("a number"), 1.5);
    for digits in ["1e400", "-1e400"] {
        let said = refusal::<f64>(&exact(digits));
        assert!(said.contains("out of range"), "{said}");
    }
}

#[test]
fn namesakes_are_not_taken_for_others() {
    mod texts {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(super) enum IpAddr {
            V4(String),
            V6(String),
        }
    }
    mod units {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(super) enum IpAddr {
            V4,
            V6,
        }
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename = "Duration")]
    struct Own {
        secs: String,
        nanos: u32,
    }
    let value = texts::IpAddr::V4("127.0.0.1".into());
    let nodes = [Node::Str, enumeration("IpAddr", vec![("V4", Shape::Newtype(0)), ("V6", Shape::Newtype(0))])];
    let text = by_schema(&nodes, &value).expect("an enum");
    assert_eq!(text, r#"{"V4":"127.0.0.1"}"#);
    assert_eq!(read::<texts::IpAddr>(&text).expect("an enum"), value);
    assert_eq!(read::<texts::IpAddr>(&typed(&value)).expect("an enum"), value);
    for value in [units::IpAddr::V4, units::IpAddr::V6] {
        let text = by_schema(&[enumeration("IpAddr", vec![("V4", Shape::Unit), ("V6", Shape::Unit)])], &value).expect("an enum");
        assert_eq!(read::<units::IpAddr>(&text).expect("an enum"), value);
    }
    let value = Own { secs: "5".into(), nanos: 1 };
    let text = by_schema(&[Node::Str, Node::U32, structure("Duration", &[("secs", 0), ("nanos", 1)])], &value).expect("a struct");
    assert_eq!(text, r#"{"secs":"5","nanos":1}"#);
    assert_eq!(read::<Own>(&text).expect("a struct"), value);
}

#[test]
fn a_text_that_is_not_one_says_what_it_has_to_be() {
    assert!(refusal::<Uuid>("\"67e5\"").contains("invalid value: string \"67e5\", expected a UUID"));
    assert!(refusal::<Uuid>("\"67e5504410b1-426f-9247-bb680e5fe0c8----\"").contains("a UUID"));
    assert!(refusal::<Ipv4Addr>("\"::1\"").contains("expected an IPv4 address"));
    assert!(refusal::<IpAddr>("\"localhost\"").contains("unknown variant `localhost`, expected `V4` or `V6`"));
    assert!(refusal::<SocketAddrV4>("\"1.2.3.4\"").contains("expected an IPv4 address and a port"));
    assert!(refusal::<time::Date>("\"31.1.2026\"").contains("expected a date such as 2026-01-31"));
}

/// A table may name the type around its parts, or not.
#[test]
fn a_name_around_the_parts_changes_nothing() {
    let wrapped = |nodes: &[Node], path: &str| [nodes, &[logical(path, nodes.len() as Id - 1)]].concat();
    let duration = [Node::U64, Node::U32, structure("Duration", &[("secs", 0), ("nanos", 1)])];
    let system = [Node::U64, Node::U32, structure("SystemTime", &[("secs_since_epoch", 0), ("nanos_since_epoch", 1)])];
    let mut ip = vec![Node::U8, Node::Tuple(vec![0; 4]), Node::Tuple(vec![0; 16])];
    let mut socket = vec![Node::U16, Node::Tuple(vec![1, 3]), Node::Tuple(vec![2, 3])];
    socket.splice(0..0, ip.clone());
    ip.push(enumeration("IpAddr", vec![("V4", Shape::Newtype(1)), ("V6", Shape::Newtype(2))]));
    socket.push(enumeration("SocketAddr", vec![("V4", Shape::Newtype(4)), ("V6", Shape::Newtype(5))]));
    fn both<T: Serialize>(plain: &[Node], wrapped: &[Node], value: &T, text: &str) {
        assert_eq!(by_schema(plain, value).expect(text), text);
        assert_eq!(by_schema(wrapped, value).expect(text), text);
    }
    both(&duration, &wrapped(&duration, "core::time::Duration"), &Duration::from_secs(3), "\"3s\"");
    both(&system, &wrapped(&system, "std::time::SystemTime"), &SystemTime::UNIX_EPOCH, "\"1970-01-01T00:00:00Z\"");
    for address in ["1.2.3.4", "::1"] {
        let value: IpAddr = address.parse().expect("one");
        both(&ip, &wrapped(&ip, "core::net::ip_addr::IpAddr"), &value, &format!("{address:?}"));
    }
    for address in ["1.2.3.4:5", "[::1]:65535"] {
        let value: SocketAddr = address.parse().expect("one");
        both(&socket, &wrapped(&socket, "core::net::socket_addr::SocketAddr"), &value, &format!("{address:?}"));
    }
    // A type that has another meaning, and a text already.
    both(&[Node::Str], &[Node::Str, logical("url::Url", 0)], &"a", "\"a\"");
    // A path that its shape does not bear out.
    both(&[Node::Bool], &[Node::Bool, logical("uuid::Uuid", 0)], &true, "true");
    both(&[Node::U8], &[Node::U8, logical("core::time::Duration", 0)], &7_u8, "7");
}
