//! Types of the standard library and of others: those that check what they are given, and those that mean more than their shape.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::is;

#[derive(Serialize, Deserialize)]
struct Buffers {
    a: Bytes,
    #[serde(with = "serde_bytes")]
    b: Vec<u8>,
    c: [u8; 4],
    d: indexmap::IndexMap<u32, u8>,
    e: serde_bytes::ByteBuf,
    f: crate::Bytes,
}

#[test]
fn buffers_and_maps() {
    is(
        "Buffers{a: bytes, b: bytes, c: (u8, u8, u8, u8), d: {u32: u8}, e: bytes, f: bytes}",
        &[Buffers {
            a: Bytes::from_static(b"xyz"),
            b: vec![1, 2],
            c: [1; 4],
            d: [(1, 2)].into_iter().collect(),
            e: serde_bytes::ByteBuf::from(vec![1]),
            f: b"xyz".into(),
        }],
    );
}

#[test]
fn uuids_urls_and_decimals() {
    is("uuid::Uuid~bytes", &[uuid::Uuid::from_u128(5)]);
    is("url::Url~str", &[url::Url::parse("http://a/").unwrap()]);
    is("rust_decimal::decimal::Decimal~str", &[rust_decimal::Decimal::new(123, 2)]);
}

#[test]
fn addresses() {
    let v4 = "(u8, u8, u8, u8)";
    let v6 = format!("({})", ["u8"; 16].join(", "));
    is(&format!("core::net::ip_addr::IpAddr~IpAddr<V4({v4}) V6({v6})>"), &[IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()]);
    is(
        &format!("core::net::socket_addr::SocketAddr~SocketAddr<V4(({v4}, u16)) V6(({v6}, u16))>"),
        &[SocketAddr::from(([127, 0, 0, 1], 80)), SocketAddr::from((Ipv6Addr::LOCALHOST, 80))],
    );
    is(&format!("({v4}, {v6})"), &[(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)]);
}

#[test]
fn times_of_the_standard_library() {
    is(
        "(core::time::Duration~Duration{secs: u64, nanos: u32}!, std::time::SystemTime~SystemTime{secs_since_epoch: u64, \
         nanos_since_epoch: u32}!, Range{start: u8, end: u8}!)",
        &[(Duration::from_millis(1500), SystemTime::UNIX_EPOCH, 0u8..5u8)],
    );
    is("str", &[PathBuf::from("/x")]);
}

#[test]
fn times_of_chrono() {
    use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc, Weekday};
    let date = NaiveDate::from_ymd_opt(2020, 1, 2).unwrap();
    let time = NaiveTime::from_hms_opt(1, 2, 3).unwrap();
    is::<(DateTime<Utc>, NaiveDate, NaiveTime, NaiveDateTime, Weekday)>(
        "(chrono::datetime::DateTime<chrono::offset::fixed::FixedOffset>~str, chrono::naive::date::NaiveDate~str, \
         chrono::naive::time::NaiveTime~str, chrono::naive::datetime::NaiveDateTime~str, chrono::weekday::Weekday~str)",
        &[(DateTime::from_timestamp(0, 0).unwrap(), date, time, date.and_time(time), Weekday::Mon)],
    );
}

#[test]
fn times_of_time() {
    is(
        "(time::offset_date_time::OffsetDateTime~(i32, u16, u8, u8, u8, u32, i8, i8, i8), time::date::Date~(i32, u16), \
         time::signed_duration::SignedDuration~(i64, i32))",
        &[(time::OffsetDateTime::UNIX_EPOCH, time::macros::date!(2020 - 01 - 01), time::Duration::seconds(5))],
    );
    is("(time::weekday::Weekday~u8, time::month::Month~u8)", &[(time::Weekday::Monday, time::Month::May)]);
}
