//! Customers who pay, one payment after the other, as fast as they are served: how many payments a second, and how long each took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use rpc::CallError;

use super::{GOOD_CARD, Tried, Trust, card, connect, unique};
use crate::access::Caller;
use crate::api::{CheckoutClient, Currency, IdempotencyKey, Money, OrderId};

/// Customers that share a connection.
const PER_CONNECTION: usize = 64;

#[derive(clap::Args)]
pub struct Options {
    /// The server.
    #[arg(long)]
    pub addr: String,
    /// How many pay at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub customers: u32,
    /// For how long.
    #[arg(long, default_value_t = 5)]
    pub seconds: u32,
    #[command(flatten)]
    pub trust: Trust,
}

/// What a customer saw.
struct Seen {
    /// In microseconds.
    latency: Histogram<u64>,
    captured: u64,
    refused: u64,
    unanswered: u64,
    first_error: Option<String>,
}

pub async fn run(options: Options) -> Tried {
    let Options { addr, customers, seconds, trust } = options;
    let (customers, seconds) = (usize::try_from(customers)?, u64::from(seconds));
    let run = unique();
    let mut shops = Vec::new();
    for _ in 0..customers.div_ceil(PER_CONNECTION) {
        shops.push(connect(&addr, &trust, None).await?);
    }
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    // Drawn on stderr, and only if that is a terminal.
    let bar = ProgressBar::new(seconds.saturating_mul(10)).with_style(ProgressStyle::with_template("{bar:40} {percent}% {msg}")?);
    let captured = Arc::new(AtomicU64::new(0));
    let paying: Vec<_> = (0..customers)
        .zip(shops.iter().cycle())
        .map(|(customer, shop)| tokio::spawn(pay_until(until, shop.clone(), format!("{run}-{customer}"), captured.clone())))
        .collect();
    let ticking = tokio::spawn(tick(bar.clone(), began, until, captured));
    let mut all = Seen::new()?;
    for customer in paying {
        all.add(customer.await?.map_err(|error| error.to_string())?)?;
    }
    let took = began.elapsed();
    ticking.abort();
    bar.finish_and_clear();
    for shop in shops {
        shop.close().await;
    }
    all.print(customers, took);
    match all.first_error {
        Some(error) if all.captured == 0 => Err(error.into()),
        _ => Ok(()),
    }
}

async fn tick(bar: ProgressBar, began: Instant, until: Instant, captured: Arc<AtomicU64>) {
    while Instant::now() < until {
        bar.set_position(u64::try_from(began.elapsed().as_millis() / 100).unwrap_or_default());
        bar.set_message(format!("{} payments", captured.load(Ordering::Relaxed)));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn pay_until(until: Instant, shop: CheckoutClient, customer: String, captured: Arc<AtomicU64>) -> Result<Seen, Failed> {
    let caller = Caller::from_environment();
    let token = caller.sign(shop.tokenize(card(GOOD_CARD))).await?.token;
    let mut seen = Seen::new()?;
    let mut payment = 0u64;
    while Instant::now() < until {
        payment += 1;
        let name = format!("{customer}-{payment}");
        let (key, order): (IdempotencyKey, OrderId) = (name.parse()?, name.parse()?);
        let began = Instant::now();
        let paid = caller.sign(shop.pay(key, order, Money::new(1990, Currency::Usd), token.clone())).await;
        seen.latency.saturating_record(u64::try_from(began.elapsed().as_micros())?);
        match paid {
            Ok(_) => {
                seen.captured += 1;
                captured.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                match &error {
                    CallError::Service(_) => seen.refused += 1,
                    // Never a second charge: the next payment has a key of its own, and this one can still be asked for.
                    CallError::Rpc(_) => seen.unanswered += 1,
                }
                seen.first_error.get_or_insert(error.to_string());
            }
        }
    }
    Ok(seen)
}

impl Seen {
    fn new() -> Result<Self, hdrhistogram::CreationError> {
        // From a microsecond to a minute, to three digits.
        let latency = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        Ok(Self { latency, captured: 0, refused: 0, unanswered: 0, first_error: None })
    }

    fn add(&mut self, other: Self) -> Result<(), hdrhistogram::AdditionError> {
        self.latency.add(&other.latency)?;
        self.captured += other.captured;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.first_error = self.first_error.take().or(other.first_error);
        Ok(())
    }

    fn print(&self, customers: usize, took: Duration) {
        // For display alone: no amount is ever a float.
        let rate = self.captured as f64 / took.as_secs_f64();
        println!(
            "{customers} customers, {:.1} s: {} captured, {} refused, {} unanswered",
            took.as_secs_f64(),
            self.captured,
            self.refused,
            self.unanswered
        );
        if let Some(error) = &self.first_error {
            println!("first error      {error}");
        }
        println!("payments a second {rate:>10.0}");
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            let millis = self.latency.value_at_quantile(quantile) as f64 / 1000.0;
            println!("latency {name:<9} {millis:>10.2} ms");
        }
    }
}
