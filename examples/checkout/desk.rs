//! Where the rules of `domain/` meet the book and the card network: the one place that awaits both.
//!
//! A call that asks the network is written down before (`begin`), and after it with its answer (`conclude`): two commits.
//! What lies between them is found by `recovery.rs` if the process dies there. Calls that need no network are one commit.
//! Every commit names the versions it was decided on; who comes too late looks again and decides anew. No lock is held.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::api::{Invalid, Operation, PayError, Unavailable};
use crate::card::{Expiry, NewCard, Secret};
use crate::decline::Decline;
use crate::domain::charge::{Charge, Ended, check_amount};
use crate::domain::record::{Answer, Call, KeyRecord};
use crate::domain::{Change, Millis};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::money::Money;
use crate::network::{self, Network, NetworkToken};
use crate::store::{Committed, Store, StoreError};
use crate::turns::{Turn, Turns};
use crate::vault::{Card, Vault};

/// How long the network may take. Shorter than a lease: who gives up, gives up before somebody else takes over.
const NETWORK_PATIENCE: Duration = Duration::from_secs(8);

/// How often a call that another replica runs is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub struct Desk {
    pub store: Arc<dyn Store>,
    pub network: Network,
    pub turns: Turns,
    vault: Vault,
    clock: Clock,
    /// How long the network may take; in a sweep, the book as well.
    pub patience: Duration,
    /// Who we are to other replicas.
    pub replica: String,
}

/// What tells the time: the wall clock, except in tests.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The wall clock.
pub fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Desk {
    pub fn new(store: Arc<dyn Store>, network: Network, clock: Clock) -> Result<Self, StoreError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| StoreError(error.to_string()))?;
        let vault = Vault::new(store.vault_key());
        let replica = crate::vault::hex(&random);
        Ok(Self { store, network, turns: Turns::default(), vault, clock, patience: NETWORK_PATIENCE, replica })
    }

    #[cfg(test)]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    pub fn now(&self) -> Millis {
        (self.clock)()
    }

    /// A token for a card. Its number goes no further than this, its security code not even so far.
    pub async fn save(&self, card: &NewCard) -> Result<Card, crate::api::TokenizeError> {
        use crate::api::TokenizeError;
        let number = card.check(Expiry::at(self.now())).map_err(TokenizeError::Card)?;
        let card = self.vault.seal(&number, NetworkToken::of(&number)).map_err(TokenizeError::Unavailable)?;
        let change = Change { card: Some(card.clone()), ..Change::default() };
        self.store.commit(change).await.map_err(|error| TokenizeError::Unavailable(unreadable(&error)))?;
        Ok(card)
    }

    /// `pay` and `authorize`.
    pub async fn authorize(&self, operation: Operation, key: IdempotencyKey, order: OrderId, amount: Money, token: &CardToken) -> Answer {
        check_amount(amount)?;
        let card = self.store.card(token).await.map_err(|error| unresolved(&error))?;
        let card = card.ok_or(PayError::Invalid(Invalid::UnknownCard))?;
        let fingerprint = Call::fingerprint(operation, &order, Some(amount), Some(&card.fingerprint));
        let call = self.call(operation, key, order, fingerprint);
        self.ask(call, None, |charge, call| Charge::begin(charge, call, amount, &card)).await
    }

    pub async fn confirm(&self, key: IdempotencyKey, order: OrderId, code: &Secret<String>) -> Answer {
        let fingerprint = Call::fingerprint(Operation::ConfirmChallenge, &order, None, None);
        let call = self.call(Operation::ConfirmChallenge, key, order, fingerprint);
        let begin = |charge: Option<Charge>, call: &Call| charge.ok_or(PayError::Invalid(Invalid::UnknownOrder))?.begin_confirmation(call);
        self.ask(call, Some(code), begin).await
    }

    pub async fn capture(&self, key: IdempotencyKey, order: OrderId, amount: Money) -> Answer {
        self.decide(Operation::Capture, key, order, Some(amount), |charge, call| charge.capture(call, amount)).await
    }

    pub async fn void(&self, key: IdempotencyKey, order: OrderId) -> Answer {
        self.decide(Operation::Void, key, order, None, Charge::void).await
    }

    pub async fn refund(&self, key: IdempotencyKey, order: OrderId, amount: Money) -> Answer {
        self.decide(Operation::Refund, key, order, Some(amount), |charge, call| charge.refund(call, amount)).await
    }

    fn call(&self, operation: Operation, key: IdempotencyKey, order: OrderId, fingerprint: String) -> Call {
        Call { key, operation, order, fingerprint, owner: self.replica.clone(), now: self.now() }
    }

    /// A call that asks the network: once for all who come with its key.
    async fn ask(&self, call: Call, code: Option<&Secret<String>>, begin: impl Fn(Option<Charge>, &Call) -> Result<Change, PayError>) -> Answer {
        loop {
            let turn = match self.turns.enter(&call.key) {
                Turn::Mine(turn) => turn,
                Turn::Theirs(over) => {
                    over.wait().await;
                    continue;
                }
            };
            // In this order: whoever has changed the payment has written the key with it, and is seen here.
            let charge = self.current(&call.order).await?;
            match self.store.key(&call.key).await.map_err(|error| unresolved(&error))? {
                Some(record) if record.fingerprint != call.fingerprint => return Err(PayError::Conflict),
                Some(KeyRecord { answer: Some(answer), .. }) => return answer,
                Some(record) if self.belongs_to_another(&record) => {
                    drop(turn);
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                // Whoever ran it is gone.
                Some(_) => {}
                None => match self.store.commit(begin(charge, &call)?).await {
                    Ok(Committed::Written) => {}
                    Ok(Committed::Stale) => continue,
                    // It may be on disk; but the network was not asked, so it will be found to be nothing. Unless another
                    // server has this key as well.
                    Err(error) if self.store.is_shared() => return Err(unresolved(&error)),
                    Err(error) => return Err(untouched(&error)),
                },
            }
            return self.put_to_the_network(&call, code).await;
        }
    }

    /// Another replica runs it, as far as anybody knows.
    pub fn belongs_to_another(&self, record: &KeyRecord) -> bool {
        self.store.is_shared() && record.owner != self.replica && self.now() < record.lease_until
    }

    async fn put_to_the_network(&self, call: &Call, code: Option<&Secret<String>>) -> Answer {
        let Some(charge) = self.waiting(call).await? else { return self.told(call).await };
        let asked = async {
            match (self.network.find(&charge.reference).await?, code) {
                (Some(network::Answer::Challenge), Some(code)) => self.network.confirm(&charge.reference, code.reveal()).await,
                (Some(answer), _) => Ok(answer),
                (None, _) => self.network.authorize(&charge.reference, &charge.order, charge.network, charge.amount).await,
            }
        };
        match tokio::time::timeout(self.patience, asked).await {
            Ok(Ok(answer)) => self.conclude(call, answer).await,
            // Unknown is not failed: the key stays open, and is asked about until there is an answer.
            Ok(Err(_)) | Err(_) => Err(PayError::Unresolved),
        }
    }

    /// Writes the network's answer down, and gives it.
    pub async fn conclude(&self, call: &Call, answer: network::Answer) -> Answer {
        loop {
            let Some(charge) = self.waiting(call).await? else { return self.told(call).await };
            let call = Call { now: self.now(), ..call.clone() };
            let Ended { change, answer } = charge.answered(&call, answer)?;
            match self.write(change).await {
                Ok(Committed::Written) => return answer,
                Ok(Committed::Stale) => {}
                Err(error) => return Err(unresolved(&error)),
            }
        }
    }

    /// The payment that waits for this call; `None` if somebody else has ended it.
    async fn waiting(&self, call: &Call) -> Result<Option<Charge>, PayError> {
        let charge = self.store.charge(&call.order).await.map_err(|error| unresolved(&error))?;
        Ok(charge.filter(|charge| charge.running.as_ref().is_some_and(|running| running.key == call.key)))
    }

    /// What somebody else was answered.
    async fn told(&self, call: &Call) -> Answer {
        let record = self.store.key(&call.key).await.map_err(|error| unresolved(&error))?;
        record.and_then(|record| record.answer).unwrap_or(Err(PayError::Unresolved))
    }

    /// A call that needs the book alone.
    async fn decide(
        &self,
        operation: Operation,
        key: IdempotencyKey,
        order: OrderId,
        amount: Option<Money>,
        decide: impl Fn(Charge, &Call) -> Result<Ended, PayError>,
    ) -> Answer {
        amount.map_or(Ok(()), check_amount)?;
        let fingerprint = Call::fingerprint(operation, &order, amount, None);
        let call = self.call(operation, key, order, fingerprint);
        loop {
            // In this order, as in `ask`.
            let charge = self.current(&call.order).await?;
            match self.store.key(&call.key).await.map_err(|error| unresolved(&error))? {
                Some(record) if record.fingerprint != call.fingerprint => return Err(PayError::Conflict),
                Some(record) => return record.answer.unwrap_or(Err(PayError::Unresolved)),
                None => {}
            }
            let charge = charge.ok_or(PayError::Invalid(Invalid::UnknownOrder))?;
            let Ended { change, answer } = decide(charge, &call)?;
            match self.write(change).await {
                Ok(Committed::Written) => return answer,
                Ok(Committed::Stale) => {}
                Err(error) => return Err(unresolved(&error)),
            }
        }
    }

    /// The payment of an order, after what time alone has done to it.
    async fn current(&self, order: &OrderId) -> Result<Option<Charge>, PayError> {
        loop {
            let charge = self.store.charge(order).await.map_err(|error| unresolved(&error))?;
            let Some(expired) = charge.clone().and_then(|charge| charge.expire(self.now())) else { return Ok(charge) };
            self.write(expired).await.map_err(|error| unresolved(&error))?;
        }
    }

    /// Writes a change, says what it did, and lets go of what it no longer needs to hold.
    pub async fn write(&self, change: Change) -> Result<Committed, StoreError> {
        let (charge, events) = (change.charge.clone(), change.events.clone());
        let committed = self.store.commit(change).await?;
        if committed == Committed::Written {
            for event in events {
                let reason = event.decline.map(Decline::code);
                tracing::info!(order = %event.order, key = %event.key, amount = %event.amount, reason, "{}", event.kind);
            }
            if let Some(charge) = charge.filter(|charge| !charge.stands_behind(&charge.reference)) {
                // If it does not hear us, it is told again within the hour.
                tokio::time::timeout(self.patience, self.network.reverse(&charge.reference)).await.ok();
            }
        }
        Ok(committed)
    }
}

/// The book cannot be read or written, and nothing has happened.
fn untouched(error: &StoreError) -> PayError {
    PayError::Unavailable(unreadable(error))
}

pub fn unreadable(error: &StoreError) -> Unavailable {
    tracing::error!(%error, "the book is out of order");
    Unavailable
}

/// The book cannot be read or written, and something may have happened, be it in an earlier call with this key.
fn unresolved(error: &StoreError) -> PayError {
    tracing::error!(%error, "the book is out of order: an outcome is not known");
    PayError::Unresolved
}
