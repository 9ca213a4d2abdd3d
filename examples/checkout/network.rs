//! The card network: simulated, and the only thing here that is. The card's number decides what its issuer says, a seed how
//! long that takes.
//!
//! Like a real one it knows every request by a reference, answers the same reference with the same answer, and remembers: its
//! journal (`network/`) outlives our process. What it holds and we do not know of is an authorization that hangs;
//! after a crash it is asked.

pub mod journal;
#[cfg(feature = "postgres")]
pub mod shared_journal;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::journal::{Journal, JournalError};
use crate::card::CardNumber;
use crate::decline::Decline;
use crate::key::{IdempotencyKey, OrderId};
use crate::money::Money;
use crate::vault::identifier;

/// The code that ends a challenge well. Any other is wrong.
pub const CHALLENGE_CODE: &str = "123456";

/// How long the slow issuer takes.
pub const SLOW: Duration = Duration::from_secs(1);

/// How the issuer behind a card answers. A real network's token is a text without meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkToken {
    Approves,
    Declines(Decline),
    /// 3-D Secure: the holder has to confirm.
    Challenges,
    /// Approves, after [`SLOW`].
    ApprovesSlowly,
    /// Approves, and the answer is lost on its way.
    ApprovesSilently,
}

/// What the network knows a request by: an order, which of the attempts on it this is, and the key of our caller. An attempt
/// that was given up, and whose request arrives after all, is not mistaken for the next one; nor is what was asked in the first
/// life of a key, which may have another one once it is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reference(String);

/// What the network says of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The amount is held.
    Approved,
    Declined(Decline),
    Challenge,
    /// What was held is not any more.
    Reversed,
    /// What was captured has been paid to us.
    Collected,
}

/// One reference, as the network knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub reference: Reference,
    pub order: OrderId,
    pub amount: Money,
    pub answer: Answer,
}

/// Nobody knows what came of it.
#[derive(Debug)]
pub struct NoAnswer;

pub struct Network {
    journal: Box<dyn Journal>,
    seed: u64,
    /// What an issuer takes to answer on average.
    pace: Duration,
}

impl Reference {
    pub fn of(key: &IdempotencyKey, order: &OrderId, attempt: u64) -> Self {
        Self(identifier("auth", key, order, attempt))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NetworkToken {
    /// What the network makes of a number.
    pub fn of(number: &CardNumber) -> Self {
        match number.reveal() {
            "4000000000000002" => Self::Declines(Decline::Generic),
            "4000000000009995" => Self::Declines(Decline::InsufficientFunds),
            "4000000000009987" => Self::Declines(Decline::LostCard),
            "4000000000009979" => Self::Declines(Decline::StolenCard),
            "4000000000000069" => Self::Declines(Decline::ExpiredCard),
            "4000000000000127" => Self::Declines(Decline::IncorrectCvc),
            "4000000000000119" => Self::Declines(Decline::ProcessingError),
            "4000000000005118" => Self::Declines(Decline::DoNotHonor),
            "4100000000000019" => Self::Declines(Decline::Fraudulent),
            "4000000000003220" => Self::Challenges,
            "4000000000006009" => Self::ApprovesSlowly,
            "4000000000000184" => Self::ApprovesSilently,
            _ => Self::Approves,
        }
    }
}

impl Network {
    pub fn new(journal: Box<dyn Journal>, seed: u64, pace: Duration) -> Self {
        Self { journal, seed, pace }
    }

    /// Asks the issuer to hold an amount. The same reference gives the same answer and holds nothing more.
    ///
    /// # Errors
    /// When there is no answer. The amount may be held.
    pub async fn authorize(&self, reference: &Reference, order: &OrderId, card: NetworkToken, amount: Money) -> Result<Answer, NoAnswer> {
        let delay = self.delay(reference);
        pause(if card == NetworkToken::ApprovesSlowly { SLOW } else { delay }).await;
        let answer = match card {
            NetworkToken::Approves | NetworkToken::ApprovesSlowly | NetworkToken::ApprovesSilently => Answer::Approved,
            NetworkToken::Declines(decline) => Answer::Declined(decline),
            NetworkToken::Challenges => Answer::Challenge,
        };
        let hold = Hold { reference: reference.clone(), order: order.clone(), amount, answer };
        let stands = self.journal.record(hold).await?;
        if stands.amount != amount || stands.order != *order {
            // Ours alone could be the mistake, and no answer is right then.
            return Err(NoAnswer);
        }
        if card == NetworkToken::ApprovesSilently {
            std::future::pending::<()>().await;
        }
        // The way back. What happens now, happens after the hold.
        pause(delay).await;
        Ok(stands.answer)
    }

    /// Hands the issuer the code that its card's holder has typed.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn confirm(&self, reference: &Reference, code: &str) -> Result<Answer, NoAnswer> {
        pause(self.delay(reference)).await;
        let answer = if code == CHALLENGE_CODE { Answer::Approved } else { Answer::Declined(Decline::AuthenticationRequired) };
        let stands = self.journal.change(reference, &[Answer::Challenge], answer).await?;
        stands.map(|hold| hold.answer).ok_or(NoAnswer)
    }

    /// Releases what this reference holds, if it holds anything.
    ///
    /// # Errors
    /// When there is no answer: the hold may stand.
    pub async fn reverse(&self, reference: &Reference) -> Result<(), NoAnswer> {
        self.journal.change(reference, &[Answer::Approved, Answer::Challenge], Answer::Reversed).await?;
        Ok(())
    }

    /// Collects what was captured: what remains of [`holds`](Self::holds) is open.
    ///
    /// # Errors
    /// When there is no answer: it can be collected again.
    pub async fn collect(&self, reference: &Reference) -> Result<(), NoAnswer> {
        self.journal.change(reference, &[Answer::Approved], Answer::Collected).await?;
        Ok(())
    }

    /// What became of a reference; `None` if it never arrived.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn find(&self, reference: &Reference) -> Result<Option<Answer>, NoAnswer> {
        Ok(self.journal.find(reference).await?.map(|hold| hold.answer))
    }

    /// Everything that is held or waits for a challenge.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn holds(&self) -> Result<Vec<Hold>, NoAnswer> {
        Ok(self.journal.holds().await?)
    }

    /// The same for the same seed and reference, up to twice the pace over both ways.
    fn delay(&self, reference: &Reference) -> Duration {
        let mut bits = self.seed ^ 0x9e37_79b9_7f4a_7c15;
        for byte in reference.as_str().bytes() {
            bits = (bits ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        bits ^= bits >> 32;
        self.pace.saturating_mul((bits % 1000) as u32) / 1000
    }
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

impl From<JournalError> for NoAnswer {
    fn from(error: JournalError) -> Self {
        tracing::error!(%error, "the card network does not answer");
        Self
    }
}
