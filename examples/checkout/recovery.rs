//! What is left open is brought to an end: at start, what a killed process has left between two commits, and from then on
//! every second, what the network did not answer and what time has ended. Each says in the log what became of it.

use std::time::Duration;

use crate::api::{Operation, PayError, PaymentState};
use crate::desk::Desk;
use crate::domain::charge::{Charge, Running};
use crate::network::Answer;
use crate::running::Turn;
use crate::store::{Committed, StoreError};

const EVERY: Duration = Duration::from_secs(1);
/// Keys live for days: once an hour is often enough to forget them.
const FORGET_EVERY: u64 = 3600;

/// Ends what an earlier process has left, and lets the network release what nobody here knows of.
///
/// # Errors
/// When the book cannot be read.
pub async fn at_start(desk: &Desk) -> Result<(), StoreError> {
    sweep(desk).await?;
    desk.store.forget_keys(desk.now()).await?;
    let Ok(holds) = desk.network.holds().await else { return Ok(()) };
    for hold in holds {
        let charge = desk.store.charge(&hold.order).await?;
        if !charge.is_some_and(|charge| charge.stands_behind(&hold.reference)) {
            tracing::warn!(order = %hold.order, key = %hold.reference, amount = %hold.amount, "a hold without a payment: released");
            // If it does not hear us, the next start tells it again.
            desk.network.reverse(&hold.reference).await.ok();
        }
    }
    Ok(())
}

/// Until it is dropped.
pub async fn keep_sweeping(desk: &Desk) {
    for round in 1.. {
        tokio::time::sleep(EVERY).await;
        let forget = async { if round % FORGET_EVERY == 0 { desk.store.forget_keys(desk.now()).await } else { Ok(0) } };
        if let Err(error) = async { sweep(desk).await.and(forget.await) }.await {
            tracing::error!(%error, "open payments cannot be looked at");
        }
    }
}

/// Looks at every open payment once.
///
/// # Errors
/// When the book cannot be read or written.
pub async fn sweep(desk: &Desk) -> Result<(), StoreError> {
    for charge in desk.store.open_charges().await? {
        match charge.running.clone() {
            Some(running) if charge.state == PaymentState::Processing => resolve(desk, charge, running).await?,
            _ => {
                if let Some(expired) = charge.expire(desk.now()) {
                    desk.write(expired).await?;
                }
            }
        }
    }
    Ok(())
}

/// A payment that waits for the network, and nobody waits with it.
async fn resolve(desk: &Desk, charge: Charge, running: Running) -> Result<(), StoreError> {
    let Turn::Mine(_turn) = desk.running.enter(&running.key) else { return Ok(()) };
    let Some(record) = desk.store.key(&running.key).await? else { return Ok(()) };
    if record.answer.is_some() || desk.belongs_to_another(&record) {
        return Ok(());
    }
    let Ok(known) = desk.network.find(&charge.key).await else { return Ok(()) };
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
            if desk.write(change).await? == Committed::Stale {
                return Ok(());
            }
            "released: the network was never asked"
        }
        Some(answer) => match desk.conclude(&record.call(&desk.replica, desk.now()), answer).await {
            Ok(_) => "completed",
            Err(PayError::Declined(_)) => "declined",
            Err(_) => return Ok(()),
        },
    };
    tracing::warn!(%order, key = %running.key, operation = %running.operation, "resolved: {became}");
    Ok(())
}
