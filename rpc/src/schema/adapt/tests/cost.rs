//! What adapting costs beside plain decoding. Figures are printed, never asserted:
//! `cargo test --release -p rpc --lib -- --ignored --nocapture costs`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::evolution::orders::{an_order_of, first, second, v1, v2};
use super::*;

/// The medians of rounds that take turns, so that whatever else the machine does meets all of them.
fn medians<const N: usize>(mut runs: [&mut dyn FnMut(); N]) -> [Duration; N] {
    const ROUNDS: usize = 101;
    const CALLS: u32 = 500;
    let mut times = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (run, times) in runs.iter_mut().zip(&mut times) {
            let began = Instant::now();
            for _ in 0..CALLS {
                run();
            }
            times.push(began.elapsed() / CALLS);
        }
    }
    times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2]
    })
}

#[test]
#[ignore = "it prints figures, of a release build"]
fn costs() {
    let (first, second) = (peer(&first()), peer(&second()));
    let budget = Budget::default();
    let old = bytes_of(&an_order_of(21));
    let adapted: v2::Order = value(&first, 0, &old, budget).expect("it adapts");
    let new = bytes_of(&adapted);
    assert_eq!(value::<v2::Order>(&second, 0, &new, budget).expect("it is the same"), adapted);
    let [postcard, plain, same, changed] = medians([
        &mut || drop(black_box(postcard::from_bytes::<v2::Order>(black_box(&new)))),
        &mut || drop(black_box(decode::from_slice::<v2::Order>(black_box(&new), budget))),
        &mut || drop(black_box(value::<v2::Order>(&second, 0, black_box(&new), budget))),
        &mut || drop(black_box(value::<v2::Order>(&first, 0, black_box(&old), budget))),
    ]);
    let [old_postcard, old_plain, old_same] = medians([
        &mut || drop(black_box(postcard::from_bytes::<v1::Order>(black_box(&old)))),
        &mut || drop(black_box(decode::from_slice::<v1::Order>(black_box(&old), budget))),
        &mut || drop(black_box(value::<v1::Order>(&first, 0, black_box(&old), budget))),
    ]);
    let times = |time: Duration, of: Duration| time.as_secs_f64() / of.as_secs_f64();
    println!("an order of {} bytes: postcard {postcard:?}, plain decoding {plain:?}", new.len());
    println!("by its own schema {same:?} ({:.2} x postcard, {:.2} x plain)", times(same, postcard), times(same, plain));
    println!("by an older schema {changed:?} ({:.2} x postcard, {:.2} x plain)", times(changed, postcard), times(changed, plain));
    println!("the older type: postcard {old_postcard:?}, plain decoding {old_plain:?}");
    println!("by its own schema {old_same:?} ({:.2} x postcard, {:.2} x plain)", times(old_same, old_postcard), times(old_same, old_plain));
    #[derive(serde::Deserialize, Serialize)]
    struct Small {
        id: u64,
        amount: u32,
        ok: bool,
    }
    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "it is only read")]
    struct Small2 {
        id: u64,
        ok: bool,
        #[serde(default)]
        currency: u8,
        amount: u64,
    }
    use super::types::*;
    let writer = peer(&structure("Small", [("id", U64), ("amount", U32), ("ok", Bool)]));
    let bytes = bytes_of(&Small { id: 1 << 40, amount: 1999, ok: true });
    let [plain, changed] = medians([&mut || drop(black_box(decode::from_slice::<Small>(black_box(&bytes), budget))), &mut || {
        drop(black_box(value::<Small2>(&writer, 0, black_box(&bytes), budget)))
    }]);
    println!("a small struct: plain {plain:?}, changed {changed:?}");
}
