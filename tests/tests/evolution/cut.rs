//! Conformance 5: a connection is cut at every byte of the exchange of schemas and of the first call: the method runs once or
//! not at all, and its caller is told the truth.

use std::time::Duration;

use rpc::{CallError, Client, ErrorKind, Executed};
use rpc_tests::evolve::{Ran, new, old};
use rpc_tests::fault::{Cut, DOWN, Plan, UP, Wire, wire};
use rpc_tests::virtual_time;

fn world() -> (old::ShopClient, Ran, Wire) {
    let (near, far, wire) = wire(Plan::default(), Plan::default(), 5);
    let ran = Ran::default();
    tokio::spawn(new::server(&ran).serve_connection(far));
    (Client::options().over(near).into(), ran, wire)
}

#[test]
fn the_exchange_is_cut_at_every_byte() {
    let extent = virtual_time(async {
        let (shop, _, wire) = world();
        shop.pay(5).await.unwrap();
        [wire.taken(UP), wire.taken(DOWN)]
    });
    let (mut cuts, mut no, mut maybe, mut answered) = (0, 0, 0, 0);
    for direction in [UP, DOWN] {
        for offset in 0..=extent[direction] {
            for how in Cut::ALL {
                let what = format!("{how:?} of direction {direction} at byte {offset} of {}", extent[direction]);
                let (ended, runs) = virtual_time(async {
                    let (shop, ran, wire) = world();
                    wire.fail_after(direction, offset, how);
                    let ended = shop.pay(5).timeout(Duration::from_secs(20)).await;
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    (ended, ran.count())
                });
                assert!(runs <= 1, "{what}: ran {runs} times");
                cuts += 1;
                match ended {
                    Ok(amount) => {
                        assert_eq!((amount, runs), (5, 1), "{what}");
                        answered += 1;
                    }
                    Err(CallError::Service(error)) => panic!("{what}: {error:?}"),
                    Err(CallError::Rpc(error)) => {
                        let kinds = [ErrorKind::Unavailable, ErrorKind::DeadlineExceeded];
                        assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
                        match error.executed() {
                            Executed::No => {
                                assert_eq!(runs, 0, "{what}: {error:?}");
                                no += 1;
                            }
                            _ => maybe += 1,
                        }
                    }
                }
            }
        }
    }
    rpc_tests::report!("{{\"suite\":\"cut exchange\",\"cuts\":{cuts},\"executed_no\":{no},\"executed_maybe\":{maybe},\"answered\":{answered}}}");
    assert!(maybe > 0 && answered > 0 && cuts > 2000);
}
