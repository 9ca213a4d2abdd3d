//! What is left open is brought to an end: at start, what a killed process has left between two commits, and from then on
//! every second, what the network did not answer and what time has ended. Each says in the log what became of it.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::api::{Operation, PayError, PaymentState};
use crate::desk::Desk;
use crate::domain::charge::{Charge, Running};
use crate::network::{Answer, Hold, NoAnswer};
use crate::store::{Committed, StoreError};
use crate::turns::Turn;

const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Keys live for days, and money that was captured may wait.
const SETTLE_EVERY: Duration = Duration::from_secs(3600);

/// How many are looked at at once: a network that is mute takes its time for each of them.
const AT_ONCE: usize = 32;

/// Why something is open still. It is looked at again the next time.
#[derive(Debug)]
pub enum StillOpen {
    Book(StoreError),
    Network,
    /// Nothing came back from this: a connection that hangs says nothing at all.
    Mute(&'static str, Duration),
}

/// Ends what an earlier process has left.
///
/// # Errors
/// When the book cannot be read.
pub async fn at_start(desk: &Desk) -> Result<(), StillOpen> {
    sweep(desk).await?;
    settle(desk).await;
    Ok(())
}

/// Until it is dropped.
pub async fn keep_sweeping(desk: &Desk) {
    let sweeping = async {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            if let Err(error) = sweep(desk).await {
                tracing::error!(%error, "open payments cannot be looked at");
            }
        }
    };
    // Beside it: many holds with a slow network keep no payment waiting.
    let settling = async {
        loop {
            tokio::time::sleep(SETTLE_EVERY).await;
            settle(desk).await;
        }
    };
    tokio::join!(sweeping, settling);
}

/// Compares the network's holds with the book: collects what was captured, and releases what nobody here knows of. Forgets old keys.
async fn settle(desk: &Desk) {
    if let Err(error) = in_time(desk, "forgetting keys", desk.store.forget_keys(desk.now())).await {
        tracing::error!(%error, "old keys are not forgotten");
    }
    match in_time(desk, "asking for holds", desk.network.holds()).await {
        Ok(holds) => stream::iter(holds).for_each_concurrent(AT_ONCE, |hold| settle_one(desk, hold)).await,
        Err(error) => tracing::error!(%error, "the network's holds cannot be looked at"),
    }
}

async fn settle_one(desk: &Desk, hold: Hold) {
    let settled = async {
        let charge = in_time(desk, "reading a payment", desk.store.charge(&hold.order)).await?;
        let charge = charge.filter(|charge| charge.stands_behind(&hold.reference));
        match charge.map(|charge| charge.state) {
            Some(PaymentState::Captured) => in_time(desk, "collecting", desk.network.collect(&hold.reference)).await,
            Some(_) => Ok(()),
            None => {
                tracing::warn!(order = %hold.order, reference = %hold.reference, amount = %hold.amount, "a hold without a payment: released");
                in_time(desk, "releasing a hold", desk.network.reverse(&hold.reference)).await
            }
        }
    };
    // If the network does not hear us, the next time it is told again.
    if let Err(error) = settled.await {
        tracing::error!(order = %hold.order, reference = %hold.reference, %error, "a hold is not settled");
    }
}

/// Waits for the book or the network no longer than a call does.
async fn in_time<T, E: Into<StillOpen>>(desk: &Desk, what: &'static str, answer: impl Future<Output = Result<T, E>>) -> Result<T, StillOpen> {
    let answer = tokio::time::timeout(desk.patience, answer).await;
    answer.map_err(|_| StillOpen::Mute(what, desk.patience))?.map_err(Into::into)
}

/// Looks once at every payment that waits for the network, or whose hold has ended, each by itself. Gives how many could not
/// be looked at: they are the next time.
///
/// # Errors
/// When the book does not even say which they are.
pub async fn sweep(desk: &Desk) -> Result<usize, StillOpen> {
    let due = in_time(desk, "reading open payments", desk.store.due_charges(desk.now())).await?;
    let looks = stream::iter(due).map(|charge| look(desk, charge)).buffer_unordered(AT_ONCE);
    let failed = looks.fold(0, async |failed, looked| failed + usize::from(!looked)).await;
    if failed > 0 {
        tracing::error!(failed, "open payments could not be looked at: they are again in the next round");
    }
    Ok(failed)
}

/// Whether it could be looked at.
async fn look(desk: &Desk, charge: Result<Charge, StoreError>) -> bool {
    let charge = match charge {
        Ok(charge) => charge,
        Err(error) => {
            tracing::error!(%error, "an open payment cannot be read");
            return false;
        }
    };
    let order = charge.order.clone();
    let key = charge.running.as_ref().map_or(&charge.key, |running| &running.key).clone();
    let looked = match charge.running.clone() {
        Some(running) if charge.state == PaymentState::Processing => resolve(desk, charge, running).await,
        _ => expire(desk, charge).await,
    };
    if let Err(error) = &looked {
        tracing::error!(%order, %key, %error, "an open payment cannot be looked at");
    }
    looked.is_ok()
}

async fn expire(desk: &Desk, charge: Charge) -> Result<(), StillOpen> {
    if let Some(expired) = charge.expire(desk.now()) {
        in_time(desk, "ending a hold", desk.write(expired)).await?;
    }
    Ok(())
}

/// A payment that waits for the network, and nobody waits with it.
async fn resolve(desk: &Desk, charge: Charge, running: Running) -> Result<(), StillOpen> {
    let Turn::Mine(_turn) = desk.turns.enter(&running.key) else { return Ok(()) };
    let Some(record) = in_time(desk, "reading a key", desk.store.key(&running.key)).await? else { return Ok(()) };
    if record.answer.is_some() || desk.belongs_to_another(&record) {
        return Ok(());
    }
    let known = in_time(desk, "asking what is known", desk.network.find(&charge.reference)).await?;
    let order = charge.order.clone();
    let asked = match known {
        // The holder's code never arrived: the challenge stands.
        Some(Answer::Challenge) if running.operation == Operation::ConfirmChallenge => None,
        known => known,
    };
    let became = match asked {
        // It never arrived, and whoever would have sent it is gone: nothing is held, and the key is as good as new.
        None => {
            let Some(change) = charge.abandoned() else { return Ok(()) };
            if in_time(desk, "releasing a key", desk.write(change)).await? == Committed::Stale {
                return Ok(());
            }
            "released: the network was never asked"
        }
        Some(answer) => {
            let call = record.call(&desk.replica, desk.now());
            // What it answers is no failure of this look, unless nobody knows.
            let concluded = async { Ok::<_, StillOpen>(desk.conclude(&call, answer).await) };
            match in_time(desk, "writing an answer", concluded).await? {
                Ok(_) => "completed",
                Err(PayError::Declined(_)) => "declined",
                Err(_) => return Err(StillOpen::Book(StoreError("its answer is not written".into()))),
            }
        }
    };
    tracing::warn!(%order, key = %running.key, operation = %running.operation, "resolved: {became}");
    Ok(())
}

impl From<StoreError> for StillOpen {
    fn from(error: StoreError) -> Self {
        Self::Book(error)
    }
}

impl From<NoAnswer> for StillOpen {
    fn from(NoAnswer: NoAnswer) -> Self {
        Self::Network
    }
}

impl fmt::Display for StillOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Book(error) => error.fmt(f),
            Self::Network => f.write_str("the card network does not answer"),
            Self::Mute(what, patience) => write!(f, "{what}: no answer within {patience:?}"),
        }
    }
}

impl std::error::Error for StillOpen {}
