//! Mutated messages: none makes the decoder panic or break its budget, and postcard itself reads the same values.

use super::*;

/// Marsaglia's xorshift: the same inputs every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A byte that often means something: a tag, a small length, the end or the middle of a varint.
    fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => self.below(4) as u8,
            1 => 0x80 | self.next() as u8,
            2 => [0x7f, 0xff, 0x00, 0x01][self.below(4)],
            _ => self.next() as u8,
        }
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
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

/// What postcard makes of the whole message, written again: values need no equality of their own.
fn plain<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    rest.is_empty().then(|| postcard::to_stdvec(&value).expect("it was read"))
}

/// Gives how many of the mutated messages were still values.
fn compare<T: Serialize + DeserializeOwned>(random: &mut Random, seed: &T, rounds: usize) -> usize {
    let original = postcard::to_stdvec(seed).expect("plain data");
    let mut read = 0;
    for _ in 0..rounds {
        let mut bytes = original.clone();
        random.mutate(&mut bytes);
        let ours = reply::<T>(&bytes).ok().map(|value| postcard::to_stdvec(&value).expect("it was read"));
        assert_eq!(ours, plain::<T>(&bytes), "{bytes:x?}");
        read += usize::from(ours.is_some());
    }
    read
}

#[test]
fn postcard_reads_the_same_values_from_mutated_messages() {
    const ROUNDS: usize = 15_000;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let random = &mut random;
    let order = Order::sample();
    let sum =
        Expression::Sum(Box::new(Expression::Number(-7)), Box::new(Expression::All { of: vec![Expression::Number(1)], named: BTreeMap::new() }));
    let read = [
        compare(random, &order, ROUNDS),
        compare(random, &order.payment, ROUNDS),
        compare(random, &vec![order.lines.clone(); 2], ROUNDS),
        compare(random, &vec![Currency::Usd, Currency::Eur, Currency::Other("x".into())], ROUNDS),
        compare(random, &sum, ROUNDS),
        compare(random, &Tree::Node(Box::new(Tree::Node(Box::new(Tree::Leaf)))), ROUNDS),
        compare(random, &Chain { next: Some(Box::new(Chain { next: None })) }, ROUNDS),
        compare(random, &BTreeMap::from([(1u16, vec![Some(2i32)]), (2, vec![None, Some(-3)])]), ROUNDS),
        compare(random, &(u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX), ROUNDS),
        compare(random, &(i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN), ROUNDS),
        compare(random, &(1.5f32, -2.5f64, 'ß', true, "text".to_owned()), ROUNDS),
        compare(random, &vec![Some([7u64; 8]), None, None], ROUNDS),
        compare(random, &(Ok::<u8, String>(1), Err::<u8, String>("no".into())), ROUNDS),
        compare(random, &vec![vec![vec![1u8, 2], vec![]], vec![]], ROUNDS),
        compare(random, &(0..40).map(|n| 1u64 << n).collect::<Vec<_>>(), ROUNDS),
        compare(random, &(((), (1u8,)), Some(Some(((),))), [1u16; 7]), ROUNDS),
    ];
    // Enough of both answers to mean something.
    let read = read.iter().sum::<usize>();
    assert!((ROUNDS..15 * ROUNDS).contains(&read), "{read}");
}

/// With a budget of two pages no value takes more, and messages are refused for that alone.
#[test]
fn mutated_messages_keep_to_a_small_budget() {
    const BUDGET: Budget = Budget { bytes: 8 << 10, depth: 16 };
    fn run<T: Serialize + DeserializeOwned>(random: &mut Random, seed: fn(u8) -> T, heap: fn(&T) -> usize) -> [usize; 2] {
        let (mut kept, mut refused) = (0, 0);
        for _ in 0..8000 {
            let mut bytes = postcard::to_stdvec(&seed(random.below(100) as u8)).expect("plain data");
            if random.below(4) != 0 {
                random.mutate(&mut bytes);
            }
            match decode_reply::<T>(&bytes, Encoding::Postcard, BUDGET) {
                Ok(value) => {
                    assert!(heap(&value) <= BUDGET.bytes, "{bytes:x?}");
                    kept += 1;
                }
                Err(error) => refused += usize::from(error.kind() == ErrorKind::TooLarge),
            }
        }
        [kept, refused]
    }
    fn nested(lists: &Vec<Vec<Vec<u16>>>) -> usize {
        let inner = |list: &Vec<Vec<u16>>| list.capacity() * 24 + list.iter().map(|list| list.capacity() * 2).sum::<usize>();
        lists.capacity() * 24 + lists.iter().map(inner).sum::<usize>()
    }
    let mut random = Random(88_172_645_463_325_252);
    let runs = [
        run::<Wide>(&mut random, |n| vec![None; n.into()], |wide| wide.capacity() * size_of::<Option<[u64; 32]>>()),
        run::<Vec<Vec<Vec<u16>>>>(&mut random, |n| vec![vec![vec![]; 10]; n.into()], nested),
        run::<Vec<Box<Option<[u64; 32]>>>>(
            &mut random,
            |n| (0..n).map(|_| Box::new(None)).collect(),
            |boxes| boxes.len() * 264 + boxes.capacity() * 8,
        ),
        run::<BTreeMap<u8, [u8; 32]>>(&mut random, |n| (0..n).map(|n| (n, [n; 32])).collect(), |map| map.len() * 33),
    ];
    for [kept, refused] in runs {
        assert!(kept > 100 && refused > 100, "{runs:?}");
    }
}

/// Nothing mutated: every byte is random, so that lengths are large and the bytes few.
#[test]
fn noise_is_refused_or_read() {
    let mut random = Random(0xdead_beef_cafe_f00d);
    for round in 0..20_000 {
        let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
        let _ = reply::<Order>(&bytes);
        let _ = reply::<Vec<HashMap<u8, Wide>>>(&bytes);
        // Three bytes may declare a million units, which take their time in a debug build.
        if round % 50 == 0 {
            let _ = reply::<Vec<HashMap<(), Vec<()>>>>(&bytes);
        }
        let _ = decode_arguments::<(&str, Option<&[u8]>, CowStr<'_>)>(&postcard_body(&bytes), &NOTE);
        #[cfg(feature = "json")]
        let _ = Body::new(bytes, Encoding::Json, Budget::default(), &PAY, None);
    }
}
