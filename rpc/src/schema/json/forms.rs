//! What JSON has a text for and postcard parts or bytes: which types these are, and both directions.
//!
//! A text becomes what the type itself would write (its *parts*, as JSON), and the type then reads that as always. So nothing here
//! knows the types, only their names and shapes; a type that only looks like one of them is still read and written without loss.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

use super::super::node::{Id, Node, Shape};
use super::super::source::{Ask, Kind};

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Uuid,
    Bytes,
    Ip,
    Ipv4,
    Ipv6,
    Socket,
    SocketV4,
    SocketV6,
    /// `std::time::Duration`
    Duration,
    /// `std::time::SystemTime`
    SystemTime,
    /// The types of the crate `time`.
    OffsetDateTime,
    UtcDateTime,
    PlainDateTime,
    Date,
    Time,
}

impl Form {
    /// Of the type that asks.
    pub(super) fn of_ask(ask: &Ask) -> Option<Self> {
        match ask.kind {
            Kind::Bytes if ask.value() == "uuid::Uuid" => Some(Self::Uuid),
            Kind::Bytes => Some(Self::Bytes),
            Kind::Seq if ask.value() == "alloc::vec::Vec<u8>" => Some(Self::Bytes),
            // As an address is read: nothing else tells it from four bytes.
            Kind::Tuple(4) if ask.value() == "[u8; 4]" => Some(Self::Ipv4),
            Kind::Tuple(16) if ask.value() == "[u8; 16]" => Some(Self::Ipv6),
            Kind::Tuple(2) if ask.value().starts_with("(core::net::ip_addr::Ipv4Addr, u16") => Some(Self::SocketV4),
            Kind::Tuple(2) if ask.value().starts_with("(core::net::ip_addr::Ipv6Addr, u16") => Some(Self::SocketV6),
            Kind::Tuple(_) => Self::of_path(ask.value()).filter(|form| form.is_time()),
            Kind::Enum(name, ["V4", "V6"]) => Self::of_enum(name),
            Kind::Struct(name, [first, second]) => Self::of_struct(name, first, second),
            _ => None,
        }
    }

    /// Of the type in this place of a table.
    pub(super) fn of_node(nodes: &[Node], id: Id) -> Option<Self> {
        match nodes.get(id as usize)? {
            Node::Bytes => Some(Self::Bytes),
            Node::Logical(path, _) => Self::of_path(path),
            Node::Enum(name, variants) => {
                let [first, second] = variants.as_slice() else { return None };
                let (Shape::Newtype(four), Shape::Newtype(six)) = (&first.shape, &second.shape) else { return None };
                let form = Self::of_enum(name).filter(|_| first.name == "V4" && second.name == "V6")?;
                let is_address = |id: Id, count: usize| match (form, bare(nodes, id)) {
                    (Self::Ip, Some(_)) => are_octets(nodes, id, count),
                    (_, Some(Node::Tuple(parts))) => {
                        matches!(parts[..], [address, port] if are_octets(nodes, address, count) && matches!(bare(nodes, port), Some(Node::U16)))
                    }
                    _ => false,
                };
                (is_address(*four, 4) && is_address(*six, 16)).then_some(form)
            }
            Node::Struct(name, fields) => {
                let [first, second] = fields.list.as_slice() else { return None };
                let are_numbers = matches!((bare(nodes, first.node), bare(nodes, second.node)), (Some(Node::U64), Some(Node::U32)));
                Self::of_struct(name, &first.name, &second.name).filter(|_| are_numbers)
            }
            _ => None,
        }
    }

    fn of_path(path: &str) -> Option<Self> {
        let (root, name) = path.split_once("::").map(|(root, rest)| (root, rest.rsplit("::").next().unwrap_or(rest)))?;
        Some(match (root, name) {
            ("uuid", "Uuid") => Self::Uuid,
            ("core", "IpAddr") => Self::Ip,
            ("core", "Ipv4Addr") => Self::Ipv4,
            ("core", "Ipv6Addr") => Self::Ipv6,
            ("core", "SocketAddr") => Self::Socket,
            ("core", "SocketAddrV4") => Self::SocketV4,
            ("core", "SocketAddrV6") => Self::SocketV6,
            ("core", "Duration") => Self::Duration,
            ("std", "SystemTime") => Self::SystemTime,
            ("time", "OffsetDateTime") => Self::OffsetDateTime,
            ("time", "UtcDateTime") => Self::UtcDateTime,
            ("time", "PlainDateTime" | "PrimitiveDateTime") => Self::PlainDateTime,
            ("time", "Date") => Self::Date,
            ("time", "Time") => Self::Time,
            _ => return None,
        })
    }

    fn of_enum(name: &str) -> Option<Self> {
        match name {
            "IpAddr" => Some(Self::Ip),
            "SocketAddr" => Some(Self::Socket),
            _ => None,
        }
    }

    fn of_struct(name: &str, first: &str, second: &str) -> Option<Self> {
        match (name, first, second) {
            ("Duration", "secs", "nanos") => Some(Self::Duration),
            ("SystemTime", "secs_since_epoch", "nanos_since_epoch") => Some(Self::SystemTime),
            _ => None,
        }
    }

    fn is_time(self) -> bool {
        matches!(self, Self::OffsetDateTime | Self::UtcDateTime | Self::PlainDateTime | Self::Date | Self::Time)
    }

    /// What a text has to be, for errors.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Uuid => "a UUID",
            Self::Bytes => "bytes as base64",
            Self::Ip => "an IP address",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
            Self::Socket => "an address and a port",
            Self::SocketV4 => "an IPv4 address and a port",
            Self::SocketV6 => "an IPv6 address and a port",
            Self::Duration => "a duration such as 1.5s",
            Self::SystemTime => "a time of RFC 3339, not before 1970",
            Self::OffsetDateTime => "a time of RFC 3339",
            Self::UtcDateTime => "a time of RFC 3339",
            Self::PlainDateTime => "a date and a time such as 2026-01-31T12:00:00",
            Self::Date => "a date such as 2026-01-31",
            Self::Time => "a time such as 12:00:00",
        }
    }

    /// What a text of this form stands for, of a type that is bytes.
    pub(super) fn bytes(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Uuid => uuid(text).map(Vec::from),
            Self::Bytes => from_base64(text),
            _ => None,
        }
    }

    /// What a text of this form stands for, of a type that has parts.
    pub(super) fn parts(self, text: &str) -> Option<Value> {
        Some(match self {
            Self::Uuid | Self::Bytes => return None,
            Self::Ipv4 => json!(text.parse::<Ipv4Addr>().ok()?.octets()),
            Self::Ipv6 => json!(text.parse::<Ipv6Addr>().ok()?.octets()),
            Self::Ip => match text.parse().ok()? {
                IpAddr::V4(address) => json!({ "V4": address.octets() }),
                IpAddr::V6(address) => json!({ "V6": address.octets() }),
            },
            Self::Socket => match text.parse().ok()? {
                SocketAddr::V4(address) => json!({ "V4": [address.ip().octets(), address.port()] }),
                SocketAddr::V6(address) => json!({ "V6": [address.ip().octets(), address.port()] }),
            },
            Self::SocketV4 => text.parse().ok().map(|address: std::net::SocketAddrV4| json!([address.ip().octets(), address.port()]))?,
            Self::SocketV6 => text.parse().ok().map(|address: std::net::SocketAddrV6| json!([address.ip().octets(), address.port()]))?,
            Self::Duration => {
                let nanos = duration(text)?;
                let secs = u64::try_from(nanos / NANOS).ok()?;
                json!({ "secs": secs, "nanos": (nanos % NANOS) as u32 })
            }
            Self::SystemTime => {
                let moment = Moment::parse(text, true)?;
                let secs = u64::try_from(moment.seconds()).ok()?;
                json!({ "secs_since_epoch": secs, "nanos_since_epoch": moment.nanos })
            }
            Self::OffsetDateTime => {
                let moment = Moment::parse(text, true)?;
                let offset = moment.offset / 60;
                json!([moment.year, moment.ordinal(), moment.hour, moment.minute, moment.second, moment.nanos, offset / 60, offset % 60, 0])
            }
            Self::UtcDateTime => {
                let moment = Moment::parse(text, true)?;
                let moment = Moment::at(moment.seconds(), moment.nanos)?;
                json!([moment.year, moment.ordinal(), moment.hour, moment.minute, moment.second, moment.nanos])
            }
            Self::PlainDateTime => {
                let moment = Moment::parse(text, false)?;
                json!([moment.year, moment.ordinal(), moment.hour, moment.minute, moment.second, moment.nanos])
            }
            Self::Date => {
                let mut moment = Moment::default();
                let rest = moment.date(text)?;
                rest.is_empty().then(|| json!([moment.year, moment.ordinal()]))?
            }
            Self::Time => {
                let mut moment = Moment::default();
                let rest = moment.time(text)?;
                rest.is_empty().then(|| json!([moment.hour, moment.minute, moment.second, moment.nanos]))?
            }
        })
    }

    /// The text for these parts; none when they are not those of this form, or no text can tell them.
    pub(super) fn text(self, parts: &Value) -> Option<String> {
        Some(match self {
            Self::Uuid | Self::Bytes => return None,
            Self::Ipv4 => Ipv4Addr::from(octets::<4>(parts)?).to_string(),
            Self::Ipv6 => Ipv6Addr::from(octets::<16>(parts)?).to_string(),
            Self::Ip | Self::Socket => {
                let (variant, inner) = parts.as_object().filter(|object| object.len() == 1)?.iter().next()?;
                let form = match (self, variant.as_str()) {
                    (Self::Ip, "V4") => Self::Ipv4,
                    (Self::Ip, "V6") => Self::Ipv6,
                    (Self::Socket, "V4") => Self::SocketV4,
                    (Self::Socket, "V6") => Self::SocketV6,
                    _ => return None,
                };
                form.text(inner)?
            }
            Self::SocketV4 | Self::SocketV6 => {
                let [address, port] = parts.as_array()?.as_slice() else { return None };
                // A table may show the address inside as a text already.
                let address = match (self, address) {
                    (_, Value::String(address)) => address.parse().ok()?,
                    (Self::SocketV4, address) => IpAddr::from(octets::<4>(address)?),
                    (_, address) => IpAddr::from(octets::<16>(address)?),
                };
                SocketAddr::new(address, u16::try_from(port.as_u64()?).ok()?).to_string()
            }
            Self::Duration => {
                let nanos = below_a_second(parts.get("nanos")?)?;
                let mut text = integer(parts.get("secs")?)?.to_string();
                fraction(nanos, &mut text);
                text + "s"
            }
            Self::SystemTime => {
                let nanos = below_a_second(parts.get("nanos_since_epoch")?)?;
                Moment::at(i64::try_from(integer(parts.get("secs_since_epoch")?)?).ok()?, nanos)?.text(true)?
            }
            Self::OffsetDateTime | Self::UtcDateTime | Self::PlainDateTime | Self::Date => {
                let numbers = parts.as_array()?.iter().map(Value::as_i64).collect::<Option<Vec<_>>>()?;
                let mut moment = Moment::default();
                moment.on(*numbers.first()?, *numbers.get(1)?)?;
                if let [_, _, hour, minute, second, nanos, ..] = numbers[..] {
                    moment.clock([hour, minute, second, nanos])?;
                }
                match (self, &numbers[2..]) {
                    (Self::Date, []) => moment.text_date()?,
                    (Self::OffsetDateTime, [_, _, _, _, hours, minutes, 0]) => {
                        let minutes = hours.checked_mul(60)?.checked_add(*minutes)?;
                        moment.offset = i32::try_from(minutes).ok()?.checked_mul(60)?;
                        moment.text(true)?
                    }
                    (Self::UtcDateTime, [_, _, _, _]) => moment.text(true)?,
                    (Self::PlainDateTime, [_, _, _, _]) => moment.text(false)?,
                    _ => return None,
                }
            }
            Self::Time => {
                let numbers = parts.as_array()?.iter().map(Value::as_i64).collect::<Option<Vec<_>>>()?;
                let mut moment = Moment::default();
                moment.clock(numbers.try_into().ok()?)?;
                moment.text_time()
            }
        })
    }
}

/// A type without what only gives it a name.
fn bare(nodes: &[Node], mut id: Id) -> Option<&Node> {
    // Tables of strangers may go round in circles.
    for _ in 0..nodes.len() {
        match nodes.get(id as usize)? {
            Node::Newtype(_, inner) | Node::Logical(_, inner) => id = *inner,
            node => return Some(node),
        }
    }
    None
}

fn are_octets(nodes: &[Node], id: Id, count: usize) -> bool {
    let Some(Node::Tuple(parts)) = bare(nodes, id) else { return false };
    parts.len() == count && parts.iter().all(|part| matches!(bare(nodes, *part), Some(Node::U8)))
}

const NANOS: u128 = 1_000_000_000;

fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn below_a_second(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok().filter(|nanos| u128::from(*nanos) < NANOS)
}

fn octets<const N: usize>(value: &Value) -> Option<[u8; N]> {
    if let Value::String(text) = value {
        let bytes = match text.parse().ok()? {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        return bytes.try_into().ok();
    }
    let bytes = value.as_array()?.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()));
    bytes.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// `67e55044-10b1-426f-9247-bb680e5fe0c8`, or without the dashes.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let dashes = [8, 13, 18, 23];
    let bytes = text.as_bytes();
    let has_dashes = bytes.len() == 36 && dashes.iter().all(|at| bytes[*at] == b'-');
    if !has_dashes && bytes.len() != 32 {
        return None;
    }
    let mut digits = bytes.iter().enumerate().filter(|(at, _)| !has_dashes || !dashes.contains(at)).map(|(_, byte)| (*byte as char).to_digit(16));
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    Some(uuid)
}

pub(super) fn uuid_text(bytes: &[u8]) -> Option<String> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a `String` does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 section 4, padded.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            text.push(if at <= chunk.len() { ALPHABET[(bits >> (18 - 6 * at) & 63) as usize] as char } else { '=' });
        }
    }
    text
}

/// Sections 4 and 5, padded or not.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    if bare.len() % 4 == 1 || padding != 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(bare.len() / 4 * 3 + 2);
    for chunk in bare.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for letter in chunk {
            let digit = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(digit);
        }
        let missing = 4 - chunk.len();
        bits <<= 6 * missing;
        let [_, whole @ ..] = bits.to_be_bytes();
        // Bits that stand for nothing would give one value two texts.
        if whole[3 - missing..].iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(&whole[..3 - missing]);
    }
    Some(bytes)
}

/// `1.5s`, `250ms`, `1h30m`: nanoseconds.
fn duration(text: &str) -> Option<u128> {
    let mut rest = text;
    let mut sum = 0_u128;
    while !rest.is_empty() || text.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        rest = after;
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS,
            "m" => 60 * NANOS,
            "h" => 3600 * NANOS,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || number.ends_with('.') || part.contains('.') || part.len() > 12 {
            return None;
        }
        let scale = 10_u128.pow(part.len() as u32);
        let part = if part.is_empty() { 0 } else { part.parse::<u128>().ok()?.checked_mul(unit)? };
        if part % scale != 0 {
            return None;
        }
        sum = sum.checked_add(whole.parse::<u128>().ok()?.checked_mul(unit)?)?.checked_add(part / scale)?;
    }
    Some(sum)
}

/// The digits of a second that are not 0.
fn fraction(nanos: u32, text: &mut String) {
    if nanos != 0 {
        // Writing to a `String` does not fail.
        let _ = write!(text, ".{nanos:09}");
        text.truncate(text.trim_end_matches('0').len());
    }
}

/// A date and a time of day in the Gregorian calendar, years 0 to 9999 (RFC 3339).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moment {
    year: i64,
    /// From 1.
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: u32,
    /// Of the clock from UTC, in seconds.
    offset: i32,
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Moment {
    fn parse(text: &str, has_offset: bool) -> Option<Self> {
        let mut moment = Self::default();
        let rest = moment.date(text)?.strip_prefix(['T', 't', ' '])?;
        let rest = moment.time(rest)?;
        let rest = if has_offset { moment.zone(rest)? } else { rest };
        rest.is_empty().then_some(moment)
    }

    /// What follows the date.
    fn date<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let rest = digits(text, 4, &mut self.year)?.strip_prefix('-')?;
        let rest = digits(rest, 2, &mut self.month)?.strip_prefix('-')?;
        let rest = digits(rest, 2, &mut self.day)?;
        let is_date = (1..=12).contains(&self.month) && (1..=days_in(self.year, self.month)).contains(&self.day);
        is_date.then_some(rest)
    }

    /// What follows the time of day.
    fn time<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let rest = digits(text, 2, &mut self.hour)?.strip_prefix(':')?;
        let rest = digits(rest, 2, &mut self.minute)?.strip_prefix(':')?;
        let mut rest = digits(rest, 2, &mut self.second)?;
        if let Some(part) = rest.strip_prefix('.') {
            let end = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
            let (part, after) = part.split_at(end);
            if part.is_empty() || part.len() > 9 {
                return None;
            }
            self.nanos = part.parse::<u32>().ok()? * 10_u32.pow(9 - part.len() as u32);
            rest = after;
        }
        (self.hour < 24 && self.minute < 60 && self.second < 60).then_some(rest)
    }

    /// What follows the offset.
    fn zone<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        if let Some(rest) = text.strip_prefix(['Z', 'z']) {
            return Some(rest);
        }
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let (mut hours, mut minutes) = (0, 0);
        let rest = digits(text.strip_prefix(['+', '-'])?, 2, &mut hours)?.strip_prefix(':')?;
        let rest = digits(rest, 2, &mut minutes)?;
        self.offset = sign * (hours * 60 + minutes) as i32 * 60;
        (hours < 24 && minutes < 60).then_some(rest)
    }

    /// The day of the year, from 1.
    fn ordinal(&self) -> i64 {
        (1..self.month).map(|month| days_in(self.year, month)).sum::<i64>() + self.day
    }

    fn on(&mut self, year: i64, mut ordinal: i64) -> Option<()> {
        if !(0..=9999).contains(&year) || !(1..=366).contains(&ordinal) {
            return None;
        }
        self.year = year;
        self.month = 1;
        while ordinal > days_in(year, self.month) {
            ordinal -= days_in(year, self.month);
            self.month += 1;
        }
        self.day = ordinal;
        (self.month <= 12).then_some(())
    }

    fn clock(&mut self, [hour, minute, second, nanos]: [i64; 4]) -> Option<()> {
        (self.hour, self.minute, self.second, self.nanos) = (hour, minute, second, u32::try_from(nanos).ok()?);
        let fits = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second) && u128::from(self.nanos) < NANOS;
        fits.then_some(())
    }

    /// Since 1970 in UTC.
    fn seconds(&self) -> i64 {
        let years = self.year - 1;
        // 719,162 days lie between the first days of the years 1 and 1970.
        let days = years * 365 + years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400) + self.ordinal() - 1 - 719_162;
        days * 86_400 + self.hour * 3600 + self.minute * 60 + self.second - i64::from(self.offset)
    }

    /// So many seconds after 1970 began, in UTC.
    fn at(seconds: i64, nanos: u32) -> Option<Self> {
        let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let mut moment = Self { nanos, hour: second / 3600, minute: second / 60 % 60, second: second % 60, ..Self::default() };
        // A first guess, at most one year off.
        let mut year = 1970 + day.checked_mul(400)? / 146_097;
        let first = |year| Self { year, month: 1, day: 1, ..Self::default() }.seconds() / 86_400;
        if !(0..=9999).contains(&year) {
            return None;
        }
        while first(year) > day {
            year -= 1;
        }
        while first(year + 1) <= day {
            year += 1;
        }
        moment.on(year, day - first(year) + 1)?;
        Some(moment)
    }

    fn text(&self, has_offset: bool) -> Option<String> {
        let mut text = format!("{}T{}", self.text_date()?, self.text_time());
        if has_offset {
            let minutes = self.offset / 60;
            let sign = if minutes < 0 { '-' } else { '+' };
            match minutes.unsigned_abs() {
                0 => text.push('Z'),
                // Writing to a `String` does not fail.
                minutes if minutes < 24 * 60 => drop(write!(text, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)),
                _ => return None,
            }
        }
        Some(text)
    }

    fn text_date(&self) -> Option<String> {
        Some(format!("{:04}-{:02}-{:02}", self.year, self.month, self.day))
    }

    fn text_time(&self) -> String {
        let mut text = format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second);
        fraction(self.nanos, &mut text);
        text
    }
}

/// So many digits, and what follows them.
fn digits<'a>(text: &'a str, count: usize, number: &mut i64) -> Option<&'a str> {
    let (digits, rest) = text.split_at_checked(count)?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    *number = digits.parse().ok()?;
    Some(rest)
}
