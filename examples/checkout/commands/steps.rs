//! A checkout told step by step. Every step says what it proves, and fails if it does not.
//!
//! Its own wire lies between it and the server, so that it can be cut.

use std::fmt::Display;
use std::time::Duration;

use rpc::{Call, CallError, Executed};
use serde_json::{Value, json};

use super::proxy::Wire;
use super::{GOOD_CARD, Tried, Trust, card, connect, unique};
use crate::access::Caller;
use crate::api::{
    CardToken, CheckoutClient, Currency, Event, EventKind, IdempotencyKey, Invalid, Item, Money, OrderId, PayError, Payment, PaymentState,
    QuoteError, Secret, Status,
};
use crate::network::CHALLENGE_CODE;

/// Far less than the slow issuer takes.
const DEADLINE: Duration = Duration::from_millis(200);

/// A client, and the wire it calls by.
pub struct Steps {
    shop: CheckoutClient,
    wire: Wire,
    caller: Caller,
    /// Before every key and order of this run.
    run: String,
    good: CardToken,
    /// Where the events of this run begin.
    first: u64,
}

impl Steps {
    pub async fn begin(server: &str, trust: &Trust) -> Tried<Self> {
        // Asked directly first: an address where nobody answers is told as such.
        connect(server, trust, None).await?.close().await;
        let wire = Wire::to(server.to_owned()).await?;
        let shop: CheckoutClient = trust.options_by_way_of(server)?.connect(wire.address.to_string()).await?.into();
        let caller = Caller::from_environment();
        let good = caller.sign(shop.tokenize(card(GOOD_CARD))).await?.token;
        let first = caller.sign(shop.last_event()).await?;
        Ok(Self { shop, wire, caller, run: unique(), good, first })
    }

    pub async fn tell(&self) -> Tried {
        self.balances().await?;
        self.declines().await?;
        self.challenge().await?;
        self.cut().await?;
        self.deadline().await?;
        self.events().await?;
        self.by_name().await
    }

    pub async fn goodbye(self) {
        self.shop.close().await;
    }

    /// 1. What was authorized, captured and refunded always adds up.
    async fn balances(&self) -> Tried {
        println!("1. authorize, capture a part, give a part back");
        let items = vec![Item { sku: "tea".into(), quantity: 3 }, Item { sku: "pot".into(), quantity: 1 }];
        let total = self.sign(self.shop.quote(items)).await?;
        step("quote", "3 tea, 1 pot", total);
        let saved = self.sign(self.shop.tokenize(card(GOOD_CARD))).await?;
        step("tokenize", "card 4242", format_args!("{} ending in {}, no number kept", saved.brand, saved.last_four));

        let order = self.order("1")?;
        let payment = self.sign(self.shop.authorize(self.key("1-authorize")?, order.clone(), total, saved.token)).await?;
        self.amounts(&payment, PaymentState::Authorized, [4990, 0, 0])?;
        step("authorize", total, amounts(&payment));
        let part = Money::new(4000, Currency::Eur);
        let payment = self.sign(self.shop.capture(self.key("1-capture")?, order.clone(), part)).await?;
        self.amounts(&payment, PaymentState::Captured, [4990, 4000, 0])?;
        step("capture", part, amounts(&payment));
        let part = Money::new(1000, Currency::Eur);
        let refund = self.sign(self.shop.refund(self.key("1-refund")?, order.clone(), part)).await?;
        let payment = self.sign(self.shop.get(&order)).await?.ok_or("the payment is gone")?;
        self.amounts(&payment, PaymentState::Captured, [4990, 4000, 1000])?;
        ensure(refund.refunded == payment.refunded, "the refund and the payment agree")?;
        step("refund", part, amounts(&payment));
        let rest = Money::new(3001, Currency::Eur);
        let refused = self.sign(self.shop.refund(self.key("1-refund-all")?, order, rest)).await;
        ensure(refusal(&refused) == Some(&PayError::Invalid(Invalid::MoreThanCaptured)), "no more is given back than was taken")?;
        step("refund", rest, outcome(&refused));
        Ok(())
    }

    /// 2. A decline is an enum of the other process, with advice; who tries a stolen card learns nothing.
    async fn declines(&self) -> Tried {
        println!("2. a decline is data");
        for (number, text) in [("4000000000009995", "card 9995"), ("4000000000000119", "card 0119"), ("4000000000009979", "card 9979, stolen")] {
            let token = self.sign(self.shop.tokenize(card(number))).await?.token;
            let last = number.get(12..).unwrap_or_default();
            let declined = self.pay(&format!("2-{last}"), token).await;
            match refusal(&declined) {
                Some(PayError::Declined(reason)) => {
                    let shown = reason.shown_to_the_payer();
                    step("pay", text, format_args!("{}: {}", shown.code(), shown.advice().text()));
                }
                _ => return Err(format!("expected a decline, got {}", outcome(&declined)).into()),
            }
        }
        Ok(())
    }

    /// 3. A card whose holder has to confirm.
    async fn challenge(&self) -> Tried {
        println!("3. 3-D Secure");
        let token = self.sign(self.shop.tokenize(card("4000000000003220"))).await?.token;
        let (order, amount) = (self.order("3")?, Money::new(1990, Currency::Usd));
        let payment = self.sign(self.shop.authorize(self.key("3-authorize")?, order.clone(), amount, token)).await?;
        self.amounts(&payment, PaymentState::RequiresAction, [0, 0, 0])?;
        step("authorize", "card 3220", payment.state);
        let early = self.sign(self.shop.capture(self.key("3-early")?, order.clone(), amount)).await;
        ensure(matches!(refusal(&early), Some(PayError::IllegalTransition { .. })), "nothing is captured before it is confirmed")?;
        step("capture", "before the holder confirms", outcome(&early));
        let code = Secret::new(CHALLENGE_CODE.to_owned());
        let payment = self.sign(self.shop.confirm_challenge(self.key("3-confirm")?, order.clone(), code)).await?;
        self.amounts(&payment, PaymentState::Authorized, [1990, 0, 0])?;
        step("confirm", "the holder's code", payment.state);
        let payment = self.sign(self.shop.void(self.key("3-void")?, order)).await?;
        ensure(payment.state == PaymentState::Canceled, "a payment that was not captured can be voided")?;
        step("void", amount, payment.state);
        Ok(())
    }

    /// 4. The answer is lost, the charge is not, and it is made once.
    async fn cut(&self) -> Tried {
        println!("4. the connection is cut after the server has charged");
        let (key, order, amount) = (self.key("4")?, self.order("4")?, Money::new(1990, Currency::Usd));
        self.wire.lose_the_next_reply();
        let lost = self.sign(self.shop.pay(key.clone(), order.clone(), amount, self.good.clone())).await;
        let Err(CallError::Rpc(error)) = &lost else { return Err(format!("the wire was cut, and {}", outcome(&lost)).into()) };
        ensure(error.executed() == Executed::Maybe, "a lost answer means maybe")?;
        step("pay", "the answer is lost", format_args!("{}, executed: {}", error.kind(), error.executed()));
        let receipt = self.sign(self.shop.pay(key.clone(), order.clone(), amount, self.good.clone())).await?;
        step("pay again", "the same key", format_args!("captured {}", receipt.captured));
        let again = self.sign(self.shop.pay(key.clone(), order.clone(), amount, self.good.clone())).await?;
        ensure(again == receipt, "the same key gives the same receipt")?;
        step("pay again", "the same key", "the same receipt");
        let more = Money::new(1991, Currency::Usd);
        let conflict = self.sign(self.shop.pay(key, order.clone(), more, self.good.clone())).await;
        ensure(refusal(&conflict) == Some(&PayError::Conflict), "a key stands for one amount")?;
        step("pay again", "the same key, another amount", outcome(&conflict));
        let payment = self.sign(self.shop.get(&order)).await?.ok_or("the payment is gone")?;
        self.amounts(&payment, PaymentState::Captured, [1990, 1990, 0])?;
        let captures = self.events_so_far().await?.into_iter().filter(|event| event.order == order && event.kind == EventKind::Captured).count();
        ensure(captures == 1, "there is one charge")?;
        step("the book", "charges of this order", captures);
        Ok(())
    }

    /// 5. Whoever cannot wait stops waiting; the payment comes to its end all the same.
    async fn deadline(&self) -> Tried {
        println!("5. a slow issuer meets a deadline");
        let token = self.sign(self.shop.tokenize(card("4000000000006009"))).await?.token;
        let (key, amount) = (self.key("5")?, Money::new(1990, Currency::Usd));
        let late = self.sign(self.shop.pay(key.clone(), self.order("5")?, amount, token)).timeout(DEADLINE).await;
        let Err(CallError::Rpc(error)) = &late else { return Err(format!("the issuer is slow, and {}", outcome(&late)).into()) };
        ensure(error.is_timeout() && error.executed() == Executed::Maybe, "a deadline after dispatch means maybe")?;
        step("pay", "200 ms for a slow issuer", format_args!("{}, executed: {}", error.kind(), error.executed()));
        let status = loop {
            match self.sign(self.shop.status(&key)).await? {
                // The server had the call, and may still be writing that it has.
                Status::NotFound => {}
                status => break status,
            }
        };
        ensure(status == Status::Pending, "unknown is not failed")?;
        step("status", "at once", "pending");
        let receipt = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                match self.sign(self.shop.status(&key)).await? {
                    Status::Captured(receipt) => return Tried::Ok(receipt),
                    Status::Pending => tokio::time::sleep(Duration::from_millis(50)).await,
                    other => return Err(format!("expected a receipt, found {other:?}").into()),
                }
            }
        });
        step("status", "a second later", format_args!("captured {}", receipt.await??.captured));
        Ok(())
    }

    /// 6. A stream that is cut goes on where it was.
    async fn events(&self) -> Tried {
        println!("6. the event stream is cut and goes on");
        let last = self.sign(self.shop.last_event()).await?;
        let mut seen = Vec::new();
        let mut stream = self.sign(self.shop.events(self.first)).await?;
        while seen.len() < 3 {
            seen.push(stream.next().await.ok_or("the events ended")??);
        }
        self.wire.cut();
        // What had arrived before the cut may still be read.
        let error = loop {
            match stream.next().await {
                Some(Ok(event)) if event.sequence <= last => seen.push(event),
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => return Err("a cut is not an end".into()),
            }
        };
        step("events", format_args!("cut after {} or more", 3), error.kind());
        let cursor = seen.last().map_or(self.first, |event| event.sequence);
        seen.extend(self.events_between(cursor, last).await?);
        let gapless = seen.iter().zip(self.first + 1..).all(|(event, sequence)| event.sequence == sequence);
        ensure(gapless && seen.len() as u64 == last - self.first, "no event is missing and none is there twice")?;
        let ours = seen.iter().filter(|event| event.order.as_str().starts_with(&self.run));
        let captured = ours.clone().filter(|event| event.kind == EventKind::Captured).count();
        ensure(captured == 3, "every capture was told once")?;
        step("events", "after the last one seen", format_args!("{} in order, no gap, {captured} captures", ours.count()));
        Ok(())
    }

    /// 7. The same server, without its trait.
    async fn by_name(&self) -> Tried {
        println!("7. by name, without the trait");
        let items = json!([{ "sku": "cup", "quantity": 2 }]);
        let price: Value = self.sign(self.shop.call("Checkout.quote", (&items,))).await?;
        ensure(price == json!({ "minor": 1980, "currency": "EUR" }), "the price is the same by name")?;
        step("quote", "[{sku: cup, quantity: 2}]", price);
        let error = match self.sign(self.shop.call::<Value>("Checkout.quote", (json!([{ "sku": "gin", "quantity": 1 }]),))).await {
            Err(error) => error,
            Ok(price) => return Err(format!("there is no gin, and it costs {price}").into()),
        };
        ensure(error.service() == Some(QuoteError::UnknownSku("gin".into())), "the error is the trait's")?;
        step("quote", "[{sku: gin, quantity: 1}]", format_args!("{:?}", error.service::<QuoteError>()));
        match self.sign(self.shop.call::<Value>("Checkout.charge", (1,))).await {
            Err(error) if error.executed() == Executed::No => {
                step("charge", "[1]", format_args!("{}, executed: {}", error.kind(), error.executed()));
                Ok(())
            }
            other => Err(format!("there is no such method, and {other:?}").into()),
        }
    }

    async fn pay(&self, name: &str, token: CardToken) -> Result<crate::api::Receipt, CallError<PayError>> {
        let internal = |error: &'static str| CallError::Rpc(rpc::Error::new(rpc::ErrorKind::InvalidInput, error));
        let (key, order) = (self.key(name).map_err(internal)?, self.order(name).map_err(internal)?);
        self.sign(self.shop.pay(key, order, Money::new(1990, Currency::Usd), token)).await
    }

    async fn events_so_far(&self) -> Tried<Vec<Event>> {
        let last = self.sign(self.shop.last_event()).await?;
        self.events_between(self.first, last).await
    }

    async fn events_between(&self, after: u64, last: u64) -> Tried<Vec<Event>> {
        let mut seen = Vec::new();
        if after >= last {
            return Ok(seen);
        }
        let mut stream = self.sign(self.shop.events(after)).await?;
        while let Some(event) = stream.next().await {
            let event = event?;
            let is_last = event.sequence >= last;
            seen.push(event);
            if is_last {
                return Ok(seen);
            }
        }
        Err("the events ended".into())
    }

    fn sign<'c, O>(&self, call: Call<'c, O>) -> Call<'c, O> {
        self.caller.sign(call)
    }

    fn key(&self, name: &str) -> Result<IdempotencyKey, &'static str> {
        format!("{}-{name}", self.run).parse()
    }

    fn order(&self, name: &str) -> Result<OrderId, &'static str> {
        format!("{}-order-{name}", self.run).parse()
    }

    fn amounts(&self, payment: &Payment, state: PaymentState, [authorized, captured, refunded]: [u64; 3]) -> Tried {
        let found = [payment.authorized, payment.captured, payment.refunded].map(|amount| amount.minor);
        let right = payment.state == state && found == [authorized, captured, refunded];
        ensure(right, &format!("expected {state} with {authorized}, {captured}, {refunded}; found {} with {found:?}", payment.state))
    }
}

fn step(what: &str, with: impl Display, came: impl Display) {
    println!("   {what:<10} {:<28} {came}", with.to_string());
}

fn amounts(payment: &Payment) -> String {
    format!("{}: {} authorized, {} captured, {} refunded", payment.state, payment.authorized, payment.captured, payment.refunded)
}

fn refusal<T>(result: &Result<T, CallError<PayError>>) -> Option<&PayError> {
    result.as_ref().err().and_then(CallError::service)
}

fn outcome<T>(result: &Result<T, CallError<PayError>>) -> String {
    match result {
        Ok(_) => "it went through".to_owned(),
        Err(error) => format!("refused: {error}"),
    }
}

fn ensure(holds: bool, what: &str) -> Tried {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}
