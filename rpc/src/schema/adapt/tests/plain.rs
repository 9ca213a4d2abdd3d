//! Beside plain decoding: read by the very schema of its type, a message is taken or refused as plain decoding does, with the
//! same value, whatever has become of its bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, LinkedList};
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::types::*;
use super::*;
use crate::frame::payload::guard::{EMPTY_ELEMENTS, Refusal};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Currency {
    Usd,
    Eur,
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    sku: String,
    qty: u16,
    price: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Payment {
    Card { token: String, last: [u8; 4] },
    Transfer(String, Option<u32>),
    Newtype(Box<Line>),
    Cash,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    lines: Vec<Line>,
    email: Option<String>,
    payment: Payment,
    tags: BTreeMap<String, i32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Expression {
    Number(i64),
    Sum(Box<Expression>, Box<Expression>),
    All { of: Vec<Expression>, named: BTreeMap<u8, Expression> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[allow(dead_code, reason = "only read")]
struct Wrapper(Option<Box<Wrapper>>);

fn currency() -> Type {
    enumeration("Currency", [("Usd", Holds::Nothing), ("Eur", Holds::Nothing), ("Other", Holds::One(Str))])
}

fn line() -> Type {
    structure("Line", [("sku", Str), ("qty", U16), ("price", I64)])
}

fn payment() -> Type {
    use Holds::*;
    let card = named([("token", Str), ("last", tuple(vec![U8; 4]))]);
    enumeration("Payment", [("Card", card), ("Transfer", List(vec![Str, option(U32)])), ("Newtype", One(line())), ("Cash", Nothing)])
}

pub(super) fn order() -> Type {
    let fields = [("id", U64), ("lines", seq(line())), ("email", option(Str)), ("payment", payment()), ("tags", map(Str, I32))];
    structure("Order", fields)
}

fn tree() -> Type {
    enumeration("Tree", [("Leaf", Holds::Nothing), ("Node", Holds::One(Type::This("Tree")))])
}

fn chain() -> Type {
    structure("Chain", [("next", option(Type::This("Chain")))])
}

fn expression() -> Type {
    let this = || Type::This("Expression");
    let all = named([("of", seq(this())), ("named", map(U8, this()))]);
    enumeration("Expression", [("Number", Holds::One(I64)), ("Sum", Holds::List(vec![this(), this()])), ("All", all)])
}

fn an_order() -> Order {
    Order {
        id: 1 << 40,
        lines: (0..3).map(|qty| Line { sku: format!("sku-{qty}"), qty, price: -i64::from(qty) * 1999 }).collect(),
        email: Some("ada@example.org".into()),
        payment: Payment::Card { token: "tok\t\r\n\u{1f600}".into(), last: [4, 2, 4, 2] },
        tags: BTreeMap::from([("a".into(), -1), ("b".into(), i32::MAX)]),
    }
}

pub(super) fn order_bytes() -> Vec<u8> {
    bytes_of(&an_order())
}

/// Marsaglia's xorshift: the same inputs every time.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A byte that often means something: a tag, a small length, the end or the middle of a varint.
    pub(super) fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => self.below(4) as u8,
            1 => 0x80 | self.next() as u8,
            2 => [0x7f, 0xff, 0x00, 0x01][self.below(4)],
            _ => self.next() as u8,
        }
    }

    pub(super) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.byte()),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.extend_from_within(at..),
                _ if !bytes.is_empty() => bytes[at] = self.byte(),
                _ => bytes.push(self.byte()),
            }
        }
    }
}

/// The value as text, for those that are not equal to themselves; or the limit that was met, or that there was none.
fn outcome<T: Debug>(read: Result<T, Fault>) -> Result<String, Option<Refusal>> {
    read.map(|value| format!("{value:?}")).map_err(|fault| match fault.problem() {
        Problem::Refused(refusal) => Some(*refusal),
        _ => None,
    })
}

/// Gives how many of the mutated messages were still values.
fn compare<T: Serialize + DeserializeOwned + Debug>(random: &mut Random, node: &Type, seed: &T, rounds: usize, budget: Budget) -> usize {
    let peer = peer(node);
    let original = bytes_of(seed);
    let mut read = 0;
    for round in 0..rounds {
        let mut bytes = original.clone();
        if round != 0 {
            random.mutate(&mut bytes);
        }
        let plain = outcome(decode::from_slice::<T>(&bytes, budget));
        let adapted = outcome(value::<T>(&peer, 0, &bytes, budget));
        // Knowing how short elements can be, adapting sees a length that cannot be before a limit is met inside.
        let sooner = matches!((&adapted, &plain), (Err(None), Err(Some(_))));
        assert!(adapted == plain || sooner, "{adapted:?}, and {plain:?} of {bytes:x?} as {node:?}");
        read += usize::from(plain.is_ok());
    }
    read
}

fn compare_all(random: &mut Random, rounds: usize, budget: Budget) -> usize {
    let result = |value: Type| enumeration("Result", [("Ok", Holds::One(value)), ("Err", Holds::One(Str))]);
    let sum =
        Expression::Sum(Box::new(Expression::Number(-7)), Box::new(Expression::All { of: vec![Expression::Number(1)], named: BTreeMap::new() }));
    let wide = tuple(vec![U64; 8]);
    let order_value = an_order();
    [
        compare(random, &order(), &order_value, rounds, budget),
        compare(random, &payment(), &order_value.payment, rounds, budget),
        compare(random, &seq(seq(line())), &vec![order_value.lines.clone(); 2], rounds, budget),
        compare(random, &seq(currency()), &vec![Currency::Usd, Currency::Eur, Currency::Other("x".into())], rounds, budget),
        compare(random, &expression(), &sum, rounds, budget),
        compare(random, &tree(), &Tree::Node(Box::new(Tree::Node(Box::new(Tree::Leaf)))), rounds, budget),
        compare(random, &chain(), &Chain { next: Some(Box::new(Chain { next: None })) }, rounds, budget),
        compare(random, &map(U16, seq(option(I32))), &BTreeMap::from([(1u16, vec![Some(2i32)]), (2, vec![None, Some(-3)])]), rounds, budget),
        compare(random, &tuple([U8, U16, U32, U64, U128]), &(u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX), rounds, budget),
        compare(random, &tuple([I8, I16, I32, I64, I128]), &(i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN), rounds, budget),
        compare(random, &tuple([F32, F64, Char, Bool, Str]), &(1.5f32, -2.5f64, 'ß', true, "text".to_owned()), rounds, budget),
        compare(random, &seq(option(wide)), &vec![Some([7u64; 8]), None, None], rounds, budget),
        compare(random, &tuple([result(U8), result(U8)]), &(Ok::<u8, String>(1), Err::<u8, String>("no".into())), rounds, budget),
        compare(random, &seq(seq(seq(U8))), &vec![vec![vec![1u8, 2], vec![]], vec![]], rounds, budget),
        compare(random, &seq(U64), &(0..40).map(|n| 1u64 << n).collect::<Vec<_>>(), rounds, budget),
        compare(
            random,
            &tuple([Unit, tuple([U8]), option(option(tuple([Unit]))), tuple(vec![U16; 7])]),
            &((), (1u8,), Some(Some(((),))), [1u16; 7]),
            rounds,
            budget,
        ),
        compare(random, &seq(tuple([U8, Unit])), &vec![(1u8, ()), (2, ())], rounds, budget),
        compare(random, &map(Char, Bytes), &BTreeMap::from([('a', serde_bytes::ByteBuf::from("b"))]), rounds, budget),
        compare(random, &seq(logical("uuid::Uuid", Bytes)), &vec![uuid::Uuid::from_u128(1); 2], rounds, budget),
    ]
    .iter()
    .sum()
}

#[test]
fn mutated_messages_are_read_as_plain_decoding_does() {
    const ROUNDS: usize = 11_000;
    let read = compare_all(&mut Random(0x9e37_79b9_7f4a_7c15), ROUNDS, Budget::default());
    // Enough of both answers to mean something.
    assert!((ROUNDS..18 * ROUNDS).contains(&read), "{read}");
}

/// With little memory and depth, so that limits are met all the time: the same ones.
#[test]
fn limits_are_met_where_plain_decoding_meets_them() {
    const ROUNDS: usize = 1_000;
    let mut random = Random(88_172_645_463_325_252);
    let mut read = 0;
    for bytes in [16, 40, 64, 100, 150, 200, 300, 500, 800, 2_000] {
        for depth in [1, 2, 3, 4, 6] {
            read += compare_all(&mut random, ROUNDS / 50, Budget { bytes, depth });
        }
    }
    assert!((ROUNDS..18 * ROUNDS).contains(&read), "{read}");
}

#[derive(Debug, Deserialize)]
struct Marker;

/// What `frame/payload/tests/hostile.rs` has plain decoding refuse, read by the schema of its own type.
mod hostile {
    use super::*;

    const MIB: usize = 1 << 20;

    fn declare(count: u64, rest: &[u8]) -> Vec<u8> {
        [&bytes_of(&count), rest].concat()
    }

    /// As many of these elements as 4 MiB hold.
    fn full(element: &[u8]) -> Vec<u8> {
        let count = 4 * MIB / element.len() - 4;
        declare(count as u64, &element.repeat(count))
    }

    fn refusal<T: DeserializeOwned + Debug>(node: &Type, bytes: &[u8]) -> Option<Refusal> {
        refusal_within::<T>(node, bytes, Budget::default())
    }

    fn refusal_within<T: DeserializeOwned + Debug>(node: &Type, bytes: &[u8], budget: Budget) -> Option<Refusal> {
        let plain = outcome(decode::from_slice::<T>(bytes, budget)).expect_err("these bytes must be refused");
        let adapted = outcome(value::<T>(&peer(node), 0, bytes, budget)).expect_err("these bytes must be refused");
        assert_eq!(adapted, plain, "the same refusal");
        adapted
    }

    #[test]
    fn units_without_number_are_refused_at_once() {
        for count in [1 << 63, u64::MAX, 1 << 32, EMPTY_ELEMENTS as u64 + 1] {
            let bytes = declare(count, &[]);
            let units = tuple([Unit, tuple(vec![Unit; 5])]);
            assert_eq!(refusal::<Vec<()>>(&seq(Unit), &bytes), Some(Refusal::EmptyElements));
            assert_eq!(refusal::<Vec<Marker>>(&seq(Type::Leaf(Node::UnitStruct("Marker".into()))), &bytes), Some(Refusal::EmptyElements));
            assert_eq!(refusal::<Vec<((), [(); 5])>>(&seq(units), &bytes), Some(Refusal::EmptyElements));
            assert_eq!(refusal::<BTreeMap<(), ()>>(&map(Unit, Unit), &bytes), Some(Refusal::EmptyElements));
            assert_eq!(refusal::<LinkedList<()>>(&seq(Unit), &bytes), Some(Refusal::EmptyElements));
            let after = [&[0], &bytes[..]].concat();
            assert_eq!(refusal::<(u8, Vec<()>)>(&tuple([U8, seq(Unit)]), &after), Some(Refusal::EmptyElements));
        }
        let lists = declare(1000, &declare(1100, &[]).repeat(1000));
        assert_eq!(refusal::<Vec<Vec<()>>>(&seq(seq(Unit)), &lists), Some(Refusal::EmptyElements), "all of them together");
        let most = declare(EMPTY_ELEMENTS as u64, &[]);
        assert_eq!(read::<Vec<()>>(&seq(Unit), &most).map(|units| units.len()), Ok(EMPTY_ELEMENTS), "as many as are allowed");
    }

    #[derive(Debug, Deserialize)]
    struct Lists(#[expect(dead_code, reason = "only its depth counts")] Vec<Lists>);

    #[test]
    fn a_mebibyte_of_nesting_is_refused() {
        // On a stack of 2 MiB, such as tokio's workers have.
        let test = || {
            let ones = vec![1; MIB];
            let lists = newtype("Lists", seq(Type::This("Lists")));
            assert_eq!(refusal::<Tree>(&tree(), &ones), Some(Refusal::Depth));
            assert_eq!(refusal::<Chain>(&chain(), &ones), Some(Refusal::Depth));
            assert_eq!(refusal::<Expression>(&expression(), &ones), Some(Refusal::Depth));
            assert_eq!(refusal::<Option<Box<Tree>>>(&option(tree()), &ones), Some(Refusal::Depth));
            let mut adapted = value::<Lists>(&peer(&lists), 0, &ones, Budget::default()).expect_err("too deep");
            assert!(matches!(adapted.problem(), Problem::Refused(Refusal::Depth)));
            adapted = value::<serde::de::IgnoredAny>(&peer(&lists), 0, &ones, Budget::default()).expect_err("too deep, even unread");
            assert!(matches!(adapted.problem(), Problem::Refused(Refusal::Depth)));
        };
        std::thread::Builder::new().stack_size(2 * MIB).spawn(test).expect("a thread").join().expect("no panic");
    }

    #[test]
    fn four_mebibytes_do_not_become_more_than_sixty_four() {
        let wide = || option(tuple(vec![U64; 32]));
        assert_eq!(refusal::<Vec<Option<[u64; 32]>>>(&seq(wide()), &full(&[0])), Some(Refusal::Bytes));
        assert_eq!(refusal::<Vec<Box<Option<[u64; 32]>>>>(&seq(wide()), &full(&[0])), Some(Refusal::Bytes));
        assert_eq!(refusal::<Vec<Vec<u8>>>(&seq(seq(U8)), &full(&[0])), Some(Refusal::Bytes));
        assert_eq!(refusal::<Vec<Vec<Vec<u8>>>>(&seq(seq(seq(U8))), &full(&[1, 0])), Some(Refusal::Bytes));
        assert_eq!(refusal::<Vec<HashMap<u8, Option<[u64; 32]>>>>(&seq(map(U8, wide())), &full(&[1, 0, 0])), Some(Refusal::Bytes));
        assert_eq!(refusal::<Vec<BTreeMap<u8, u8>>>(&seq(map(U8, U8)), &full(&[1, 0, 0])), Some(Refusal::Bytes));
        assert_eq!(refusal::<Vec<BTreeSet<u8>>>(&seq(seq(U8)), &full(&[1, 0])), Some(Refusal::Bytes));
        assert_eq!(refusal::<LinkedList<u8>>(&seq(U8), &full(&[0])), Some(Refusal::Bytes));
        assert_eq!(refusal::<Vec<Expression>>(&seq(expression()), &full(&[1, 0, 0, 0, 0])), Some(Refusal::Bytes));
    }

    #[test]
    fn accounts_are_the_same_to_the_byte() {
        let one = declare(1, &[0; 32]);
        let node = seq(tuple(vec![U64; 32]));
        let budget = |bytes| Budget { bytes, depth: 128 };
        assert!(value::<Vec<[u64; 32]>>(&peer(&node), 0, &one, budget(one.len() + 256)).is_ok());
        assert_eq!(refusal_within::<Vec<[u64; 32]>>(&node, &one, budget(one.len() + 255)), Some(Refusal::Bytes));
        assert_eq!(refusal_within::<BTreeSet<[u64; 32]>>(&node, &one, budget(one.len() + 11 * 256)), Some(Refusal::Bytes));
    }

    #[test]
    fn bytes_that_mean_nothing_are_malformed() {
        type Refused = fn(&Type, &[u8]) -> Option<Refusal>;
        let cases: &[(Type, &[u8], Refused)] = &[
            (Str, &[2, 0xff, 0xfe], refusal::<String>),
            (Char, &[1, 0xff], refusal::<char>),
            (Char, &[5, b'a', b'a', b'a', b'a', b'a'], refusal::<char>),
            (Char, &[0], refusal::<char>),
            (currency(), &[3], refusal::<Currency>),
            (currency(), &[0xff, 0xff, 0xff, 0xff, 0x0f], refusal::<Currency>),
            (Bool, &[2], refusal::<bool>),
            (option(U8), &[2, 0], refusal::<Option<u8>>),
            (U16, &[0x80, 0x80, 0x04], refusal::<u16>),
            (U16, &[0x80, 0x80, 0x80, 0x00], refusal::<u16>),
            (U64, &[0xff; 11], refusal::<u64>),
            (seq(U8), &[0xff; 16], refusal::<Vec<u8>>),
            (U128, &[0xff; 19], refusal::<u128>),
            (U8, &[1, 2], refusal::<u8>),
            (Unit, &[0], refusal::<()>),
            (tuple([F64, U8]), &[0; 8], refusal::<(f64, u8)>),
            (Str, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], refusal::<String>),
            (U8, &[0], refusal::<std::num::NonZeroU8>),
            (seq(U8), &[0xac, 0x02, 1, 2, 3], refusal::<Vec<u8>>),
        ];
        for (node, bytes, refusal) in cases {
            assert_eq!(refusal(node, bytes), None, "{node:?} of {bytes:x?}");
        }
    }

    /// What is passed over is looked at as closely as what is read.
    #[test]
    fn bytes_that_mean_nothing_are_malformed_where_nobody_wants_them() {
        let cases: &[(Type, &[u8])] = &[
            (Str, &[2, 0xff, 0xfe]),
            (Char, &[0]),
            (currency(), &[3]),
            (Bool, &[2]),
            (option(U8), &[2, 0]),
            (U16, &[0x80, 0x80, 0x04]),
            (seq(U8), &[0xac, 0x02, 1, 2, 3]),
            (F64, &[0; 7]),
            (Bytes, &[4, 1]),
            (U8, &[1, 2]),
        ];
        for (node, bytes) in cases {
            assert!(read::<serde::de::IgnoredAny>(node, bytes).is_err(), "{node:?} of {bytes:x?}");
        }
    }
}
