//! The table of `docs/json.md` is read, and every row of it tried: what it says is written is written, and all that it says is taken is
//! taken for the same value.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::macros::{date, datetime, time};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    sku: String,
    qty: u16,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Number(u8);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Payment {
    Cash,
    Card(String),
    Transfer(String, u8),
    Voucher { code: String },
}

/// The texts in a column.
fn cell(row: &str, column: usize) -> Vec<&str> {
    let cell = row.split('|').nth(column + 1).expect("three columns");
    cell.split('`').skip(1).step_by(2).collect()
}

struct Table {
    /// Each with whether it has been tried.
    rows: Vec<(String, bool)>,
}

impl Table {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md");
        let text = std::fs::read_to_string(path).expect("the guide stands beside the crate");
        let rows = text.lines().filter(|line| line.starts_with('|')).skip(2).map(|row| (row.to_owned(), false)).collect();
        Self { rows }
    }

    /// The row that begins so is true of this value.
    fn row<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, begins: &str, value: &T, nodes: &[Node]) {
        let (row, seen) = self.rows.iter_mut().find(|(row, seen)| !seen && row.starts_with(&format!("| {begins}"))).expect(begins);
        *seen = true;
        let written = by_schema(nodes, value).expect(begins);
        let [first, also @ ..] = &*cell(row, 1) else { panic!("nothing is written of {begins}") };
        assert_eq!(written, *first, "{begins}");
        assert!(also.iter().all(|text| serde_json::from_str::<Value>(text).is_err()), "one example is enough: {row}");
        let typed = typed(value);
        for text in [written.as_str(), typed.as_str()].into_iter().chain(cell(row, 2)) {
            assert_eq!(read::<T>(text).as_ref().map_err(Error::message), Ok(value), "{begins}: {text}");
        }
    }
}

#[test]
fn every_row_of_the_guide_is_true() {
    let mut table = Table::open();
    table.row("`bool`", &true, &[Node::Bool]);
    table.row("`u8`", &70_000_u32, &[Node::U32]);
    table.row("`u64`", &(1_u64 << 53), &[Node::U64]);
    table.row("the same", &((1_i64 << 53) + 1), &[Node::I64]);
    table.row("`u128`", &7_i128, &[Node::I128]);
    table.row("the same", &u128::MAX, &[Node::U128]);
    table.row("`f32`", &1.5_f64, &[Node::F64]);
    table.row("`char`", &'ß', &[Node::Char]);
    table.row("bytes", &serde_bytes::ByteBuf::from([1, 2, 255]), &[Node::Bytes]);
    table.row("`Vec<u8>`", &vec![1_u8, 2, 255], &[Node::U8, Node::Seq(0)]);
    table.row("`()`", &(), &[Node::Unit]);
    table.row("`Option<T>`", &None::<u8>, &[Node::U8, Node::Option(0)]);
    table.row("`Vec<T>`", &(1_u8, 2_u16), &[Node::U8, Node::U16, Node::Tuple(vec![0, 1])]);
    table.row("a newtype", &Number(7), &[Node::U8, Node::Newtype("Number".into(), 0)]);
    table.row("a struct", &Line { sku: "a".into(), qty: 2 }, &[Node::Str, Node::U16, structure("Line", &[("sku", 0), ("qty", 1)])]);
    table.row("a map", &BTreeMap::from([(1_u8, "a".to_owned())]), &[Node::U8, Node::Str, Node::Map(0, 1)]);
    let payment = |nodes: &mut Vec<Node>| {
        nodes.push(enumeration(
            "Payment",
            vec![
                ("Cash", Shape::Unit),
                ("Card", Shape::Newtype(0)),
                ("Transfer", Shape::Tuple(vec![0, 1])),
                ("Voucher", Shape::Struct(fields(&[("code", 0)]))),
            ],
        ));
    };
    let mut nodes = vec![Node::Str, Node::U8];
    payment(&mut nodes);
    table.row("a variant without", &Payment::Cash, &nodes);
    table.row("a variant with one", &Payment::Card("4242".into()), &nodes);
    table.row("a variant with several", &Payment::Transfer("x".into(), 1), &nodes);
    table.row("a variant with fields", &Payment::Voucher { code: "x".into() }, &nodes);
    let uuid: uuid::Uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().expect("one");
    table.row("`uuid::Uuid`", &uuid, &[Node::Bytes, logical("uuid::Uuid", 0)]);
    let octets = || vec![Node::U8, Node::U16, Node::Tuple(vec![0; 4]), Node::Tuple(vec![0; 16])];
    let ip = enumeration("IpAddr", vec![("V4", Shape::Newtype(2)), ("V6", Shape::Newtype(3))]);
    table.row("`IpAddr`", &IpAddr::from([127, 0, 0, 1]), &[octets(), vec![ip]].concat());
    table.row("`Ipv4Addr`", &Ipv4Addr::LOCALHOST, &[Node::U8, Node::Tuple(vec![0; 4])]);
    table.row("`Ipv6Addr`", &Ipv6Addr::LOCALHOST, &[Node::U8, Node::Tuple(vec![0; 16])]);
    let ports = vec![Node::Tuple(vec![2, 1]), Node::Tuple(vec![3, 1])];
    let socket = enumeration("SocketAddr", vec![("V4", Shape::Newtype(4)), ("V6", Shape::Newtype(5))]);
    table.row("`SocketAddr`", &SocketAddr::from((Ipv6Addr::LOCALHOST, 8080)), &[octets(), ports, vec![socket]].concat());
    let numbers = [Node::U64, Node::U32];
    let duration = structure("Duration", &[("secs", 0), ("nanos", 1)]);
    table.row("`std::time::Duration`", &Duration::from_millis(1500), &[&numbers[..], &[duration]].concat());
    let system = structure("SystemTime", &[("secs_since_epoch", 0), ("nanos_since_epoch", 1)]);
    let noon = SystemTime::UNIX_EPOCH + Duration::from_millis(1_769_860_800_500);
    table.row("`std::time::SystemTime`", &noon, &[&numbers[..], &[system]].concat());
    let parts = |path: &str, count: usize| {
        let ids = [0, 1, 2, 2, 2, 3, 4, 4, 4];
        let ids = if count == 4 { vec![2, 2, 2, 3] } else { ids[..count].to_vec() };
        vec![Node::I32, Node::U16, Node::U8, Node::U32, Node::I8, Node::Tuple(ids), logical(path, 5)]
    };
    table.row("`time::OffsetDateTime`", &datetime!(2026-01-31 12:00:00 -5:30), &parts(std::any::type_name::<time::OffsetDateTime>(), 9));
    table.row("`time::UtcDateTime`", &datetime!(2026-01-31 12:00:00 UTC).to_utc(), &parts(std::any::type_name::<time::UtcDateTime>(), 6));
    table.row("`time::PrimitiveDateTime`", &datetime!(2026-01-31 12:00:00), &parts(std::any::type_name::<time::PrimitiveDateTime>(), 6));
    table.row("`time::Date`", &date!(2026 - 01 - 31), &parts(std::any::type_name::<time::Date>(), 2));
    table.row("`time::Time`", &time!(12:00:00.25), &parts(std::any::type_name::<time::Time>(), 4));
    let chrono: chrono::DateTime<chrono::Utc> = "2026-01-31T12:00:00Z".parse().expect("a time");
    table.row("chrono's times", &chrono, &[Node::Str]);

    // NaN comes back as nothing: the one row that is not true both ways.
    let (_, nan) = table.rows.iter_mut().find(|(row, _)| row.starts_with("| NaN")).expect("a row");
    *nan = true;
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(by_schema(&[Node::F64], &value).expect("a float"), "null");
        assert_eq!(typed(&value), "null");
    }
    assert!(read::<f64>("null").is_err());
    let left: Vec<_> = table.rows.iter().filter(|(_, seen)| !seen).collect();
    assert!(left.is_empty(), "not tried: {left:?}");
}
