//! The same promises over every store.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::{Time, desk, desk_with, key, order, token, usd};
use crate::api::{Checkout, EventKind, Invalid, Operation, PayError, PaymentState, Status};
use crate::decline::Decline;
use crate::domain::audit::{Book, audit};
use crate::domain::charge::{Charge, HOLD_LIFE};
use crate::domain::record::{Answer, Call, Done, KEY_LIFE, LEASE};
use crate::key::CardToken;
use crate::network::journal::Local;
use crate::network::{Answer as Said, Network, Reference};
use crate::recovery;
use crate::service::Counter;
use crate::store::embedded::EmbeddedStore;
use crate::store::memory::MemoryStore;
use crate::store::{Committed, Store};

const GOOD: &str = "4242424242424242";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    all(Arc::new(MemoryStore::new().unwrap())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file() {
    let path = std::env::temp_dir().join(format!("checkout-stores-{}.redb", std::process::id()));
    std::fs::remove_file(&path).ok();
    all(Arc::new(EmbeddedStore::open(&path).unwrap())).await;
    let again = EmbeddedStore::open(&path).unwrap();
    assert_eq!(audit(&again.book().await.unwrap()).faults, [""; 0], "after it was closed");
    std::fs::remove_file(&path).unwrap();
}

#[cfg(all(unix, feature = "postgres"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_database() {
    let Some(cluster) = super::cluster::Cluster::start("stores") else { return };
    let store = crate::store::postgres::PostgresStore::open(&cluster.url()).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    all(store.clone()).await;
    a_statement_has_only_so_long(&cluster.url()).await;
    connections_that_are_lost_lose_no_money(&cluster.url(), &store).await;
}

/// It is connected to, as a stopped process is, and that is all.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_database_that_says_nothing_is_not_waited_for_for_ever() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://checkout@{}/postgres", listener.local_addr().unwrap());
    let link = crate::store::postgres::session::Link::to(&url).unwrap().patience(Duration::from_millis(1));
    for _ in 0..2 {
        let session = tokio::time::timeout(Duration::from_secs(20), link.session()).await;
        let Err(error) = session.expect("a session has only so long") else { panic!("there is no database") };
        assert!(error.to_string().contains("within"), "{error}");
    }
    let own = tokio::time::timeout(Duration::from_secs(20), link.connect()).await;
    assert!(own.expect("and so has a connection of one's own").is_err());
}

#[cfg(all(unix, feature = "postgres"))]
async fn a_statement_has_only_so_long(url: &str) {
    let session = crate::store::postgres::session::Link::to(url).unwrap().session().await.unwrap();
    let limit: String = session.query_one("select current_setting('statement_timeout')", &[]).await.unwrap().get(0);
    assert_eq!(limit, "30s");
}

/// The database ends every connection again and again, in the middle of whatever they do.
#[cfg(all(unix, feature = "postgres"))]
async fn connections_that_are_lost_lose_no_money(url: &str, store: &Arc<dyn Store>) {
    let desk = Arc::new(desk(store.clone(), &Time::new()));
    let card = token(&desk, GOOD).await;
    let paying: Vec<_> = (0..4)
        .map(|payer| {
            let (desk, card) = (desk.clone(), card.clone());
            tokio::spawn(async move {
                let mut unanswered = 0;
                for n in 0..40 {
                    let name = format!("lost-{payer}-{n}");
                    loop {
                        match pay(&desk, &name, 500, &card).await {
                            Ok(_) => break,
                            Err(PayError::Unresolved | PayError::Unavailable(_)) => unanswered += 1,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                unanswered
            })
        })
        .collect();
    let ender = crate::store::postgres::session::Link::to(url).unwrap().connect().await.unwrap();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
    while !paying.iter().all(tokio::task::JoinHandle::is_finished) {
        ender.batch_execute(end).await.unwrap();
        ender.batch_execute("select pg_sleep(0.05)").await.unwrap();
    }
    let mut unanswered = 0;
    for payer in paying {
        unanswered += payer.await.unwrap();
    }
    assert!(unanswered > 0, "connections were lost while they were used");
    let report = audit(&store.book().await.unwrap());
    assert_eq!(report.faults, [""; 0]);
    let captured = report.charges.iter().filter(|charge| charge.order.as_str().starts_with("lost-") && charge.captured == 500).count();
    assert_eq!(captured, 160);
}

/// Every test has keys and orders of its own.
pub async fn all(store: Arc<dyn Store>) {
    a_hundred_calls_with_one_key_are_one_charge(&store).await;
    captures_and_refunds_with_one_key_are_one(&store).await;
    two_desks_agree_on_a_key(&store).await;
    a_key_stands_for_its_method_order_amount_and_card(&store).await;
    refunds_at_the_same_time_never_give_back_too_much(&store).await;
    of_a_capture_and_a_void_at_the_same_time_one_wins(&store).await;
    an_order_is_paid_once_whatever_the_keys(&store).await;
    a_lost_answer_is_unresolved_and_then_found(&store).await;
    what_a_killed_process_has_left_is_ended_at_the_next_start(&store).await;
    a_hold_that_nobody_knows_is_released_at_start(&store).await;
    a_late_hold_of_an_earlier_attempt_is_released(&store).await;
    holds_expire(&store).await;
    events_have_no_gap_and_go_on_after_a_cursor(&store).await;
    a_failed_payment_is_told_with_its_reason(&store).await;
    payments_are_listed_in_order(&store).await;
    a_change_that_came_too_late_writes_nothing(&store).await;
    keys_are_kept_for_more_than_a_day_and_forgotten_later(&store).await;
    a_key_that_was_forgotten_pays_another_order_anew(&store).await;
    assert_eq!(audit(&store.book().await.unwrap()).faults, [""; 0]);
}

/// Of a first attempt.
fn reference(name: &str) -> Reference {
    Reference::of(&key(name), &order(name), 1)
}

async fn pay(desk: &crate::desk::Desk, name: &str, minor: u64, card: &CardToken) -> Answer {
    desk.authorize(Operation::Pay, key(name), order(name), usd(minor), card).await
}

/// M3.
async fn a_hundred_calls_with_one_key_are_one_charge(store: &Arc<dyn Store>) {
    let network = Network::new(Box::new(Local::default()), 1, Duration::from_millis(2));
    let desk = Arc::new(desk_with(store.clone(), &Time::new(), network));
    let card = token(&desk, GOOD).await;
    let before = store.last_event().await.unwrap();
    let calls = (0..100).map(|_| {
        let (desk, card) = (desk.clone(), card.clone());
        tokio::spawn(async move { pay(&desk, "hundred", 500, &card).await })
    });
    let answers: Vec<Answer> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert!(matches!(&answers[0], Ok(Done::Receipt(receipt)) if receipt.captured == usd(500)), "{:?}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let kinds: Vec<_> = store.events(before, 100).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Authorized, EventKind::Captured]);
}

async fn captures_and_refunds_with_one_key_are_one(store: &Arc<dyn Store>) {
    let desk = Arc::new(desk(store.clone(), &Time::new()));
    let card = token(&desk, GOOD).await;
    for round in 0..5 {
        let of = order(&format!("same-{round}"));
        desk.authorize(Operation::Authorize, key(of.as_str()), of.clone(), usd(500), &card).await.unwrap();
        let (capture, refund) = (key(&format!("same-{round}-capture")), key(&format!("same-{round}-refund")));
        let captures = (0..20).map(|_| {
            let (desk, capture, of) = (desk.clone(), capture.clone(), of.clone());
            tokio::spawn(async move { desk.capture(capture, of, usd(500)).await })
        });
        let answers: Vec<Answer> = join_all(captures).await.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0] && answer.is_ok()), "{answers:?}");
        let refunds = (0..20).map(|_| {
            let (desk, refund, of) = (desk.clone(), refund.clone(), of.clone());
            tokio::spawn(async move { desk.refund(refund, of, usd(100)).await })
        });
        let answers: Vec<Answer> = join_all(refunds).await.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0] && answer.is_ok()), "{answers:?}");
        assert_eq!(store.charge(&of).await.unwrap().unwrap().refunded, usd(100));
    }
}

/// Two servers, if the store lets them: then they share what the network remembers as well.
async fn two_desks_agree_on_a_key(store: &Arc<dyn Store>) {
    if !store.is_shared() {
        return;
    }
    let journal = Arc::new(Local::default());
    let network = || Network::new(Box::new(journal.clone()), 3, Duration::from_millis(2));
    let desks = [(); 2].map(|()| Arc::new(desk_with(store.clone(), &Time::new(), network())));
    let card = token(&desks[0], GOOD).await;
    for round in 0..20 {
        let name = format!("desks-{round}");
        let calls = (0..8).map(|n| {
            let (desk, card, name) = (desks[n % 2].clone(), card.clone(), name.clone());
            tokio::spawn(async move { pay(&desk, &name, 500, &card).await })
        });
        let answers: Vec<Answer> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0] && answer.is_ok()), "{answers:?}");
    }
}

/// M2.
async fn a_key_stands_for_its_method_order_amount_and_card(store: &Arc<dyn Store>) {
    let desk = desk(store.clone(), &Time::new());
    let (card, same_card, other_card) = (token(&desk, GOOD).await, token(&desk, GOOD).await, token(&desk, "5555555555554444").await);
    let first = desk.authorize(Operation::Authorize, key("meant"), order("meant"), usd(500), &card).await;
    assert!(first.is_ok());
    assert_eq!(
        desk.authorize(Operation::Authorize, key("meant"), order("meant"), usd(500), &same_card).await,
        first,
        "the card counts, not its token"
    );
    let others = [
        desk.authorize(Operation::Pay, key("meant"), order("meant"), usd(500), &card).await,
        desk.authorize(Operation::Authorize, key("meant"), order("other"), usd(500), &card).await,
        desk.authorize(Operation::Authorize, key("meant"), order("meant"), usd(501), &card).await,
        desk.authorize(Operation::Authorize, key("meant"), order("meant"), usd(500), &other_card).await,
        desk.capture(key("meant"), order("meant"), usd(500)).await,
        desk.void(key("meant"), order("meant")).await,
    ];
    assert!(others.iter().all(|answer| *answer == Err(PayError::Conflict)), "{others:?}");
    let charge = store.charge(&order("meant")).await.unwrap().unwrap();
    assert_eq!((charge.state, charge.authorized), (PaymentState::Authorized, usd(500)));
    assert_eq!(store.charge(&order("other")).await.unwrap(), None);
}

async fn refunds_at_the_same_time_never_give_back_too_much(store: &Arc<dyn Store>) {
    let desk = Arc::new(desk(store.clone(), &Time::new()));
    let card = token(&desk, GOOD).await;
    pay(&desk, "refunds", 1000, &card).await.unwrap();
    let refunds = (0..20).map(|n| {
        let desk = desk.clone();
        tokio::spawn(async move { desk.refund(key(&format!("refunds-{n}")), order("refunds"), usd(100)).await })
    });
    let answers: Vec<Answer> = join_all(refunds).await.into_iter().map(Result::unwrap).collect();
    let given = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused = answers.iter().filter(|answer| **answer == Err(PayError::Invalid(Invalid::MoreThanCaptured))).count();
    assert_eq!((given, refused), (10, 10), "{answers:?}");
    let charge = store.charge(&order("refunds")).await.unwrap().unwrap();
    assert_eq!((charge.captured, charge.refunded), (usd(1000), usd(1000)));
}

async fn of_a_capture_and_a_void_at_the_same_time_one_wins(store: &Arc<dyn Store>) {
    let desk = Arc::new(desk(store.clone(), &Time::new()));
    let card = token(&desk, GOOD).await;
    for round in 0..10 {
        let name = format!("race-{round}");
        desk.authorize(Operation::Authorize, key(&name), order(&name), usd(500), &card).await.unwrap();
        let (capturing, voiding) = (desk.clone(), desk.clone());
        let (id, of) = (key(&format!("{name}-capture")), order(&name));
        let capture = tokio::spawn(async move { capturing.capture(id, of, usd(500)).await });
        let (id, of) = (key(&format!("{name}-void")), order(&name));
        let void = tokio::spawn(async move { voiding.void(id, of).await });
        let (capture, void) = (capture.await.unwrap(), void.await.unwrap());
        assert!(capture.is_ok() != void.is_ok(), "{capture:?}, {void:?}");
    }
}

async fn an_order_is_paid_once_whatever_the_keys(store: &Arc<dyn Store>) {
    let network = Network::new(Box::new(Local::default()), 2, Duration::from_millis(2));
    let desk = Arc::new(desk_with(store.clone(), &Time::new(), network));
    let card = token(&desk, GOOD).await;
    let calls = (0..20).map(|n| {
        let (desk, card) = (desk.clone(), card.clone());
        tokio::spawn(async move { desk.authorize(Operation::Pay, key(&format!("once-{n}")), order("once"), usd(500), &card).await })
    });
    let answers: Vec<Answer> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let refused = answers.iter().filter(|answer| matches!(answer, Err(PayError::IllegalTransition { .. }))).count();
    assert_eq!(refused, 19);
}

async fn a_lost_answer_is_unresolved_and_then_found(store: &Arc<dyn Store>) {
    let desk = desk(store.clone(), &Time::new()).patience(Duration::from_millis(100));
    let card = token(&desk, "4000000000000184").await;
    assert_eq!(pay(&desk, "silent", 500, &card).await, Err(PayError::Unresolved));
    assert_eq!(store.key(&key("silent")).await.unwrap().unwrap().status(), Status::Pending, "unknown is not failed");
    recovery::sweep(&desk).await.unwrap();
    assert!(matches!(store.key(&key("silent")).await.unwrap().unwrap().status(), Status::Captured(_)));
    assert!(pay(&desk, "silent", 500, &card).await.is_ok(), "and the key has the answer");
}

/// M4: a process dies before it has asked the network, or before it has written down what it was told.
async fn what_a_killed_process_has_left_is_ended_at_the_next_start(store: &Arc<dyn Store>) {
    let time = Time::new();
    let network = Network::new(Box::new(Local::default()), 0, Duration::ZERO);
    let token = token(&desk(store.clone(), &time), GOOD).await;
    let card = store.card(&token).await.unwrap().unwrap();
    for (name, was_asked) in [("unasked", false), ("asked", true)] {
        let fingerprint = Call::fingerprint(Operation::Pay, &order(name), Some(usd(500)), Some(&card.fingerprint));
        let call = Call { key: key(name), operation: Operation::Pay, order: order(name), fingerprint, owner: "killed".into(), now: time.now() };
        let begun = Charge::begin(None, &call, usd(500), &card).unwrap();
        assert_eq!(store.commit(begun).await.unwrap(), Committed::Written);
        if was_asked {
            assert_eq!(network.authorize(&reference(name), &order(name), card.network, usd(500)).await.unwrap(), Said::Approved);
        }
    }
    // Another replica waits for as long as the first one may need.
    time.pass(LEASE);
    let desk = desk_with(store.clone(), &time, network);
    recovery::at_start(&desk).await.unwrap();
    let ended = |name: &'static str| async move { store.charge(&order(name)).await.unwrap().unwrap().state };
    assert_eq!(ended("unasked").await, PaymentState::RequiresPaymentMethod);
    assert_eq!(ended("asked").await, PaymentState::Captured);
    assert_eq!(store.key(&key("unasked")).await.unwrap(), None, "the key is as good as new");
    assert!(pay(&desk, "unasked", 500, &token).await.is_ok());
    assert!(matches!(pay(&desk, "asked", 500, &token).await, Ok(Done::Receipt(_))));
    assert_eq!(desk.network.find(&Reference::of(&key("unasked"), &order("unasked"), 3)).await.unwrap(), Some(Said::Approved));
    assert_eq!(desk.network.find(&reference("asked")).await.unwrap(), Some(Said::Collected), "what was captured is collected");
}

async fn a_hold_that_nobody_knows_is_released_at_start(store: &Arc<dyn Store>) {
    let network = Network::new(Box::new(Local::default()), 0, Duration::ZERO);
    network.authorize(&reference("stray"), &order("stray"), crate::network::NetworkToken::Approves, usd(500)).await.unwrap();
    let desk = desk_with(store.clone(), &Time::new(), network);
    recovery::at_start(&desk).await.unwrap();
    assert_eq!(desk.network.find(&reference("stray")).await.unwrap(), Some(Said::Reversed));
}

/// A request that was given up arrives after all, when its key has been used again: it is not taken for the second attempt.
async fn a_late_hold_of_an_earlier_attempt_is_released(store: &Arc<dyn Store>) {
    let time = Time::new();
    let journal = Arc::new(Local::default());
    let network = || Network::new(Box::new(journal.clone()), 0, Duration::ZERO);
    let token = token(&desk(store.clone(), &time), GOOD).await;
    let card = store.card(&token).await.unwrap().unwrap();
    let fingerprint = Call::fingerprint(Operation::Pay, &order("given-up"), Some(usd(500)), Some(&card.fingerprint));
    let call = Call { key: key("given-up"), operation: Operation::Pay, order: order("given-up"), fingerprint, owner: "slow".into(), now: time.now() };
    store.commit(Charge::begin(None, &call, usd(500), &card).unwrap()).await.unwrap();
    time.pass(LEASE);
    let desk = desk_with(store.clone(), &time, network());
    recovery::sweep(&desk).await.unwrap();
    assert_eq!(store.key(&key("given-up")).await.unwrap(), None);

    network().authorize(&reference("given-up"), &order("given-up"), card.network, usd(500)).await.unwrap();
    assert!(matches!(pay(&desk, "given-up", 500, &token).await, Ok(Done::Receipt(_))));
    recovery::at_start(&desk).await.unwrap();
    assert_eq!(network().find(&reference("given-up")).await.unwrap(), Some(Said::Reversed));
    assert_eq!(network().find(&Reference::of(&key("given-up"), &order("given-up"), 3)).await.unwrap(), Some(Said::Collected));
}

async fn holds_expire(store: &Arc<dyn Store>) {
    let time = Time::new();
    let desk = desk(store.clone(), &time);
    let card = token(&desk, GOOD).await;
    for name in ["expires-swept", "expires-late"] {
        desk.authorize(Operation::Authorize, key(name), order(name), usd(500), &card).await.unwrap();
    }
    time.pass(HOLD_LIFE - 1);
    recovery::sweep(&desk).await.unwrap();
    assert_eq!(store.charge(&order("expires-swept")).await.unwrap().unwrap().state, PaymentState::Authorized);
    time.pass(1);
    let late = desk.capture(key("expires-late-capture"), order("expires-late"), usd(500)).await;
    let refused = PayError::IllegalTransition { from: PaymentState::Canceled, operation: Operation::Capture };
    assert_eq!(late, Err(refused), "before any sweep has seen it");
    recovery::sweep(&desk).await.unwrap();
    assert_eq!(store.charge(&order("expires-swept")).await.unwrap().unwrap().state, PaymentState::Canceled);
    assert_eq!(desk.network.find(&reference("expires-swept")).await.unwrap(), Some(Said::Reversed));
}

async fn events_have_no_gap_and_go_on_after_a_cursor(store: &Arc<dyn Store>) {
    let desk = Arc::new(desk(store.clone(), &Time::new()));
    let card = token(&desk, GOOD).await;
    let before = store.last_event().await.unwrap();
    let (close, closing) = watch::channel(false);
    let counter = Counter::new(desk.clone(), closing);
    let mut stream = Box::pin(counter.events(before));
    let paying = async {
        for n in 0..5 {
            pay(&desk, &format!("events-{n}"), 500, &card).await.unwrap();
        }
    };
    let (_, first): ((), Vec<_>) = tokio::join!(paying, stream.by_ref().take(7).collect());
    drop(stream);
    let cursor = first.last().unwrap().sequence;
    let mut rest = Box::pin(counter.events(cursor));
    let second: Vec<_> = rest.by_ref().take(3).collect().await;
    let sequences: Vec<_> = first.iter().chain(&second).map(|event| event.sequence).collect();
    assert_eq!(sequences, (before + 1..=before + 10).collect::<Vec<_>>());
    assert!(first.iter().chain(&second).all(|event| event.id == format!("evt_{}", event.sequence)));
    close.send_replace(true);
    assert_eq!(rest.next().await, None, "a server that drains ends its streams");
}

async fn a_failed_payment_is_told_with_its_reason(store: &Arc<dyn Store>) {
    let desk = desk(store.clone(), &Time::new());
    let card = token(&desk, "4000000000009987").await;
    let before = store.last_event().await.unwrap();
    assert_eq!(pay(&desk, "fails", 500, &card).await, Err(PayError::Declined(Decline::LostCard)));
    let told = store.events(before, 10).await.unwrap();
    assert_eq!(told.iter().map(|event| (event.kind, event.decline)).collect::<Vec<_>>(), [(EventKind::Failed, Some(Decline::LostCard))]);
}

async fn payments_are_listed_in_order(store: &Arc<dyn Store>) {
    let desk = desk(store.clone(), &Time::new());
    let card = token(&desk, GOOD).await;
    for name in ["zlist-b", "zlist-c", "zlist-a"] {
        pay(&desk, name, 500, &card).await.unwrap();
    }
    let names = |charges: Vec<Charge>| charges.into_iter().map(|charge| charge.order.to_string()).collect::<Vec<_>>();
    assert_eq!(names(store.charges(Some(&order("zlist")), 2).await.unwrap()), ["zlist-a", "zlist-b"]);
    assert_eq!(names(store.charges(Some(&order("zlist-b")), 2).await.unwrap()), ["zlist-c"]);
    assert!(!store.charges(None, 2).await.unwrap().is_empty());
}

async fn a_change_that_came_too_late_writes_nothing(store: &Arc<dyn Store>) {
    let desk = desk(store.clone(), &Time::new());
    let card = token(&desk, GOOD).await;
    desk.authorize(Operation::Authorize, key("late"), order("late"), usd(500), &card).await.unwrap();
    let seen = store.charge(&order("late")).await.unwrap().unwrap();
    desk.void(key("late-void"), order("late")).await.unwrap();
    let (fingerprint, owner, now) = (String::new(), String::new(), 0);
    let call = Call { key: key("late-capture"), operation: Operation::Capture, order: order("late"), fingerprint, owner, now };
    let before = audit(&store.book().await.unwrap()).charges;
    let late = seen.capture(&call, usd(500)).ok().unwrap();
    assert_eq!(store.commit(late.change).await.unwrap(), Committed::Stale);
    assert_eq!(audit(&store.book().await.unwrap()).charges, before);
    assert_eq!(store.key(&key("late-capture")).await.unwrap(), None);
}

/// M13.
async fn keys_are_kept_for_more_than_a_day_and_forgotten_later(store: &Arc<dyn Store>) {
    let time = Time::new();
    let desk = desk(store.clone(), &time);
    let card = token(&desk, GOOD).await;
    let receipt = pay(&desk, "kept", 500, &card).await;
    time.pass(24 * 3_600_000);
    store.forget_keys(time.now()).await.unwrap();
    assert_eq!(pay(&desk, "kept", 500, &card).await, receipt);
    time.pass(KEY_LIFE);
    assert!(store.forget_keys(time.now()).await.unwrap() > 0);
    // The order still knows that it was paid.
    assert!(matches!(pay(&desk, "kept", 500, &card).await, Err(PayError::IllegalTransition { .. })));
}

/// What the network said to a key's first life is no answer to its second.
async fn a_key_that_was_forgotten_pays_another_order_anew(store: &Arc<dyn Store>) {
    let time = Time::new();
    let desk = desk(store.clone(), &time);
    let (good, bad) = (token(&desk, GOOD).await, token(&desk, "4000000000000002").await);
    let once = |order_name: &'static str, minor, card: &CardToken| {
        let card = card.clone();
        let desk = &desk;
        async move { desk.authorize(Operation::Pay, key("again"), order(order_name), usd(minor), &card).await }
    };
    let Ok(Done::Receipt(first)) = once("again-1", 500, &good).await else { panic!("the card is good") };
    time.pass(KEY_LIFE + 1);
    store.forget_keys(time.now()).await.unwrap();
    assert_eq!(once("again-2", 900, &bad).await, Err(PayError::Declined(crate::decline::Decline::Generic)), "the network was asked");
    time.pass(KEY_LIFE + 1);
    store.forget_keys(time.now()).await.unwrap();
    let Ok(Done::Receipt(third)) = once("again-3", 900, &good).await else { panic!("the card is good") };
    assert_ne!(first.id, third.id, "two charges are not one receipt");
    assert!(desk.network.holds().await.unwrap().iter().any(|hold| hold.order == order("again-3") && hold.amount == usd(900)));
}

#[tokio::test]
async fn an_audit_finds_what_does_not_add_up() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new().unwrap());
    let desk = desk(store.clone(), &Time::new());
    let card = token(&desk, GOOD).await;
    pay(&desk, "a", 500, &card).await.unwrap();
    pay(&desk, "b", 700, &card).await.unwrap();
    desk.refund(key("c"), order("b"), usd(100)).await.unwrap();
    let damage: [fn(&mut Book); 9] = [
        |book| book.entries[0].lines[0].1 += 1,
        |book| drop(book.entries.remove(1)),
        |book| book.entries.push(book.entries[0].clone()),
        |book| book.charges[0].captured = usd(499),
        |book| book.charges[1].refunded = usd(0),
        |book| book.charges[1].key = book.charges[0].key.clone(),
        |book| drop(book.charges.remove(0)),
        |book| drop(book.events.remove(1)),
        |book| *book.balances.values_mut().next().unwrap() += 1,
    ];
    assert_eq!(audit(&store.book().await.unwrap()).faults, [""; 0]);
    for (number, damage) in damage.into_iter().enumerate() {
        let mut book = store.book().await.unwrap();
        damage(&mut book);
        assert!(!audit(&book).faults.is_empty(), "damage {number} was not found");
    }
}
