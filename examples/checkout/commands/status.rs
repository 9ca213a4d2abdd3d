//! What became of a key, for scripts: a line of JSON.

use rpc::{CallError, Error};
use serde_json::{Value, json};

use super::pay::Outcome;
use super::{Trust, connect, print_line};
use crate::access::Caller;
use crate::api::{IdempotencyKey, Status, Unavailable};

/// Asks, prints one line, and gives the exit code: 0 with an answer, 1 when the server has none, 2 or 3 when it was not reached.
pub async fn run(address: &str, trust: &Trust, key: IdempotencyKey) -> u8 {
    let (line, code) = match ask(address, trust, &key).await {
        Ok(status) => (line(&status), 0),
        Err(CallError::Service(error)) => (json!({ "outcome": "error", "receipt": null, "reason": error.to_string() }), 1),
        Err(CallError::Rpc(error)) => {
            let outcome = Outcome::unanswered(&error);
            (outcome.json(), outcome.code)
        }
    };
    let mut line = line;
    line["key"] = json!(key);
    print_line(&line);
    code
}

async fn ask(address: &str, trust: &Trust, key: &IdempotencyKey) -> Result<Status, CallError<Unavailable>> {
    let shop = connect(address, trust, None).await.map_err(|error: Error| CallError::Rpc(error))?;
    let status = Caller::from_environment().sign(shop.status(key)).await?;
    shop.close().await;
    Ok(status)
}

/// The fields of `pay`'s line, and what other methods leave behind.
fn line(status: &Status) -> Value {
    let plain = |outcome: &str| json!({ "outcome": outcome, "receipt": null, "reason": null });
    match status {
        Status::NotFound => plain("not_found"),
        Status::Pending => plain("pending"),
        Status::Captured(receipt) => Outcome::captured(receipt.clone()).json(),
        Status::Declined(decline) => Outcome::declined(*decline).json(),
        Status::Done(payment) => {
            let mut line = plain(&payment.state.to_string());
            line["payment"] = json!(payment);
            line
        }
        Status::Refunded(refund) => {
            let mut line = plain("refunded");
            line["refund"] = json!(refund);
            line
        }
    }
}
