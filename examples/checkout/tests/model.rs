//! M10: a million random operations, each compared with a model that is written for nothing but to be obvious, and a ledger
//! that balances at the end and on the way.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Random, Time, desk, key, order, token, usd};
use crate::api::{Operation, PayError};
use crate::card::Secret;
use crate::domain::audit::audit;
use crate::domain::charge::HOLD_LIFE;
use crate::domain::record::{Answer, Done, KEY_LIFE};
use crate::money::{Currency, Money};
use crate::store::Store;
use crate::store::memory::MemoryStore;

const OPERATIONS: u64 = 1_000_000;
const CARDS: [&str; 4] = ["4242424242424242", "5555555555554444", "4000000000009995", "4000000000003220"];

#[derive(Clone, Debug, PartialEq)]
enum State {
    Open,
    Challenged,
    Held { until: u64 },
    Taken,
    Ended,
}

/// One order: what a person would note on a slip of paper.
struct Slip {
    state: State,
    currency: Currency,
    asked: u64,
    taken: u64,
    back: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Asked {
    operation: Operation,
    order: u64,
    amount: Option<Money>,
    card: usize,
}

#[derive(Default)]
struct Model {
    slips: HashMap<u64, Slip>,
    /// What was asked and said.
    keys: HashMap<u64, (Asked, String)>,
}

impl Model {
    /// What has to be answered. Only answers of an issuer or about money that moved are kept for a key.
    fn expect(&mut self, key: u64, asked: &Asked, right_code: bool, now: u64) -> String {
        let too_small_or_large = asked.amount.and_then(|amount| match amount.minor {
            0 => Some("zero"),
            1..=999_999_999_999 => None,
            _ => Some("too large"),
        });
        if let Some(wrong) = too_small_or_large {
            return wrong.into();
        }
        if let Some((known, said)) = self.keys.get(&key) {
            return if known == asked { said.clone() } else { "conflict".into() };
        }
        let (said, kept) = self.act(asked, right_code, now);
        if kept {
            self.keys.insert(key, (asked.clone(), said.clone()));
        }
        said
    }

    fn act(&mut self, asked: &Asked, right_code: bool, now: u64) -> (String, bool) {
        if let Some(slip) = self.slips.get_mut(&asked.order)
            && matches!(slip.state, State::Held { until } if until <= now)
        {
            slip.state = State::Ended;
        }
        let opens = matches!(asked.operation, Operation::Pay | Operation::Authorize);
        if opens && self.slips.get(&asked.order).is_none_or(|slip| slip.state == State::Open) {
            let amount = asked.amount.unwrap();
            let slip = Slip { state: State::Open, currency: amount.currency, asked: amount.minor, taken: 0, back: 0 };
            self.slips.insert(asked.order, slip);
        } else if opens {
            return ("illegal".into(), false);
        }
        let Some(slip) = self.slips.get_mut(&asked.order) else { return ("unknown order".into(), false) };
        let other_currency = asked.amount.is_some_and(|amount| amount.currency != slip.currency);
        let minor = asked.amount.map_or(0, |amount| amount.minor);
        match (asked.operation, slip.state.clone()) {
            (Operation::Pay, _) if asked.card >= 2 => (["declined funds", "declined authentication"][asked.card - 2].into(), true),
            (Operation::Pay, _) => {
                (slip.state, slip.taken) = (State::Taken, minor);
                (format!("receipt {minor}"), true)
            }
            (Operation::Authorize, _) if asked.card == 2 => ("declined funds".into(), true),
            (Operation::Authorize, _) if asked.card == 3 => {
                slip.state = State::Challenged;
                ("requires_action 0 0 0".into(), true)
            }
            (Operation::Authorize, _) => {
                slip.state = State::Held { until: now + HOLD_LIFE };
                (format!("authorized {minor} 0 0"), true)
            }
            (Operation::ConfirmChallenge, State::Challenged) if right_code => {
                slip.state = State::Held { until: now + HOLD_LIFE };
                (format!("authorized {} 0 0", slip.asked), true)
            }
            (Operation::ConfirmChallenge, State::Challenged) => {
                slip.state = State::Open;
                ("declined authentication".into(), true)
            }
            (Operation::Capture, State::Held { .. }) if other_currency => ("mixed".into(), false),
            (Operation::Capture, State::Held { .. }) if minor > slip.asked => ("too much".into(), false),
            (Operation::Capture, State::Held { .. }) => {
                (slip.state, slip.taken) = (State::Taken, minor);
                (format!("captured {} {minor} 0", slip.asked), true)
            }
            (Operation::Void, State::Open | State::Challenged | State::Held { .. }) => {
                let held = if matches!(slip.state, State::Held { .. }) { slip.asked } else { 0 };
                slip.state = State::Ended;
                (format!("canceled {held} 0 0"), true)
            }
            (Operation::Refund, State::Taken) if other_currency => ("mixed".into(), false),
            (Operation::Refund, State::Taken) if slip.back + minor > slip.taken => ("too much back".into(), false),
            (Operation::Refund, State::Taken) => {
                slip.back += minor;
                (format!("refund {minor} of {}", slip.back), true)
            }
            _ => ("illegal".into(), false),
        }
    }
}

fn said(answer: &Answer) -> String {
    use crate::api::Invalid;
    use crate::decline::Decline;
    match answer {
        Ok(Done::Receipt(receipt)) => format!("receipt {}", receipt.captured.minor),
        Ok(Done::Payment(payment)) => {
            format!("{} {} {} {}", payment.state, payment.authorized.minor, payment.captured.minor, payment.refunded.minor)
        }
        Ok(Done::Refund(refund)) => format!("refund {} of {}", refund.amount.minor, refund.refunded.minor),
        Err(PayError::Declined(Decline::InsufficientFunds)) => "declined funds".into(),
        Err(PayError::Declined(Decline::AuthenticationRequired)) => "declined authentication".into(),
        Err(PayError::Conflict) => "conflict".into(),
        Err(PayError::IllegalTransition { .. }) => "illegal".into(),
        Err(PayError::Invalid(invalid)) => match invalid {
            Invalid::ZeroAmount => "zero",
            Invalid::AmountTooLarge => "too large",
            Invalid::UnknownOrder => "unknown order",
            Invalid::MixedCurrencies => "mixed",
            Invalid::MoreThanAuthorized => "too much",
            Invalid::MoreThanCaptured => "too much back",
            Invalid::UnknownCard => "unknown card",
        }
        .into(),
        Err(other) => format!("{other:?}"),
    }
}

fn random_amount(random: &mut Random) -> Money {
    let minor = match random.below(40) {
        0 => 0,
        1 => 1_000_000_000_000 + random.below(u64::MAX / 2),
        2 => u64::MAX,
        3 => 999_999_999_999,
        _ => 1 + random.below(30),
    };
    let currency = if random.below(10) == 0 { Currency::Jpy } else { Currency::Usd };
    Money::new(minor, currency)
}

#[tokio::test]
async fn a_million_random_operations_agree_with_a_model_and_the_ledger_balances() {
    let seed = std::env::var("RPC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(10);
    println!("seed {seed}");
    let (mut random, time) = (Random(seed), Time::new());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new().unwrap());
    let desk = desk(store.clone(), &time);
    let mut tokens = Vec::new();
    for card in CARDS {
        // Two tokens a card: the card counts, not the token.
        tokens.push([token(&desk, card).await, token(&desk, card).await]);
    }
    let mut model = Model::default();
    // New orders come and old ones go: what happens, happens among the last thirty.
    for done in 0..OPERATIONS {
        let newest = 30 + done / 12;
        let asked = Asked {
            operation: match random.below(12) {
                0..=2 => Operation::Pay,
                3..=5 => Operation::Authorize,
                6 => Operation::ConfirmChallenge,
                7..=8 => Operation::Capture,
                9 => Operation::Void,
                _ => Operation::Refund,
            },
            order: newest - random.below(30),
            amount: Some(random_amount(&mut random)),
            card: random.below(CARDS.len() as u64) as usize,
        };
        let right_code = random.below(3) > 0;
        // One call in five is sent again, with what it was sent with first or with something else.
        let earlier = done.saturating_sub(random.below(200));
        let (name, mut asked) = match model.keys.get(&earlier) {
            Some((known, _)) if random.below(5) == 0 => {
                let other = Asked { amount: asked.amount, ..known.clone() };
                (earlier, if random.below(2) == 0 { known.clone() } else { other })
            }
            _ => (done, asked),
        };
        match asked.operation {
            Operation::ConfirmChallenge | Operation::Void => (asked.amount, asked.card) = (None, 0),
            Operation::Capture | Operation::Refund => asked.card = 0,
            Operation::Pay | Operation::Authorize => {}
        }
        let expected = model.expect(name, &asked, right_code, time.now());
        let (id, of, amount) = (key(&format!("k{name}")), order(&format!("o{}", asked.order)), asked.amount.unwrap_or(usd(1)));
        let card = &tokens[asked.card][random.below(2) as usize];
        let code = Secret::new(if right_code { "123456" } else { "000000" }.to_owned());
        let answer = match asked.operation {
            Operation::Pay | Operation::Authorize => desk.authorize(asked.operation, id, of, amount, card).await,
            Operation::ConfirmChallenge => desk.confirm(id, of, &code).await,
            Operation::Capture => desk.capture(id, of, amount).await,
            Operation::Void => desk.void(id, of).await,
            Operation::Refund => desk.refund(id, of, amount).await,
        };
        assert_eq!(said(&answer), expected, "seed {seed}, operation {done}: {asked:?}");
        if random.below(50_000) == 0 {
            time.pass(HOLD_LIFE / 2);
        }
        if done % (OPERATIONS / 4) == 0 {
            assert_eq!(audit(&store.book().await.unwrap()).faults, [""; 0], "seed {seed}, operation {done}");
        }
    }
    let report = audit(&store.book().await.unwrap());
    assert_eq!(report.faults, [""; 0], "seed {seed}");
    assert!(report.charges.len() > 10_000, "something was charged");
    const { assert!(KEY_LIFE >= 24 * 3_600_000) };
}
