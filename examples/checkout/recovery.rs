//! What is left open is brought to an end: at start, what a killed process has left between two commits, and from then on
//! every second, what the network did not answer and what time has ended. Each says in the log what became of it.

use std::time::Duration;

use crate::api::{Operation, PayError, PaymentState};
use crate::desk::Desk;
use crate::domain::charge::{Charge, Running};
use crate::network::Answer;
use crate::store::{Committed, StoreError};
use crate::turns::Turn;

const EVERY: Duration = Duration::from_secs(1);
/// Keys live for days, and money that was captured may wait: once an hour, counted in rounds.
const HOURLY: u64 = 3600;

/// Ends what an earlier process has left.
///
/// # Errors
/// When the book cannot be read.
pub async fn at_start(desk: &Desk) -> Result<(), StoreError> {
    sweep(desk).await?;
    settle(desk).await
}

/// Until it is dropped.
pub async fn keep_sweeping(desk: &Desk) {
    for round in 1.. {
        tokio::time::sleep(EVERY).await;
        let mut swept = sweep(desk).await;
        if round % HOURLY == 0 {
            swept = swept.and(settle(desk).await);
        }
        if let Err(error) = swept {
            tracing::error!(%error, "open payments cannot be looked at");
        }
    }
}

/// Compares the network's holds with the book: collects what was captured, and releases what nobody here knows of. Forgets old keys.
async fn settle(desk: &Desk) -> Result<(), StoreError> {
    desk.store.forget_keys(desk.now()).await?;
    let Ok(holds) = desk.network.holds().await else { return Ok(()) };
    for hold in holds {
        let charge = desk.store.charge(&hold.order).await?;
        let charge = charge.filter(|charge| charge.stands_behind(&hold.reference));
        // If it does not hear us, the next time it is told again.
        match charge.map(|charge| charge.state) {
            Some(PaymentState::Captured) => drop(desk.network.collect(&hold.reference).await),
            Some(_) => {}
            None => {
                tracing::warn!(order = %hold.order, reference = %hold.reference, amount = %hold.amount, "a hold without a payment: released");
                drop(desk.network.reverse(&hold.reference).await);
            }
        }
    }
    Ok(())
}

/// Looks once at every payment that waits for the network, or whose hold has ended.
///
/// # Errors
/// When the book cannot be read or written.
pub async fn sweep(desk: &Desk) -> Result<(), StoreError> {
    for charge in desk.store.due_charges(desk.now()).await? {
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
    let Turn::Mine(_turn) = desk.turns.enter(&running.key) else { return Ok(()) };
    let Some(record) = desk.store.key(&running.key).await? else { return Ok(()) };
    if record.answer.is_some() || desk.belongs_to_another(&record) {
        return Ok(());
    }
    let Ok(known) = desk.network.find(&charge.reference).await else { return Ok(()) };
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
