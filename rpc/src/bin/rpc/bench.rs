//! `rpc bench`: calls one method from many tasks, and says how many calls a second that were and how long each took.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use rpc::{ErrorKind, Named};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::call::Arguments;
use crate::connect::{self, Server};
use crate::duration;
use crate::failure::{Failure, Outcome};
use crate::interrupt::interrupt;
use crate::screen;

/// The longest time that is told apart: longer ones count as this.
const LONGEST: Duration = Duration::from_secs(3600);
const TICK: Duration = Duration::from_millis(100);
/// The longest bar of the histogram.
const BAR: u64 = 40;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The server.
    addr: String,
    /// The method: `Shop.price`. It is called for real: mind what it does.
    name: String,
    #[command(flatten)]
    arguments: Arguments,
    /// Calls in flight at any time.
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: u32,
    /// For how long.
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    duration: Duration,
    /// So many calls, however long they take.
    #[arg(short = 'n', long, conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    /// Connections that share the calls.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    #[command(flatten)]
    connection: connect::Options,
}

/// When to stop, and how far it is.
struct Plan {
    until: Option<Instant>,
    /// Calls that may begin.
    left: AtomicU64,
    done: AtomicU64,
}

impl Plan {
    /// Another call may begin.
    fn goes_on(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// What one task saw.
struct Seen {
    /// In nanoseconds, of calls that were answered.
    latency: Histogram<u64>,
    refused: u64,
    failed: BTreeMap<String, (ErrorKind, u64)>,
}

pub(crate) async fn run(options: Options) -> Outcome {
    let Options { addr, name, arguments, concurrency, duration, calls, connections, connection } = options;
    let arguments = Arc::new(arguments.read()?);
    // No more than there are calls.
    let concurrency = calls.and_then(|calls| u32::try_from(calls).ok()).map_or(concurrency, |calls| calls.min(concurrency));
    let mut servers = Vec::new();
    for _ in 0..connections.min(concurrency) {
        servers.push(Arc::new(connection.connect(&addr).await?));
    }
    let interrupt = interrupt()?;
    let mut interrupt = std::pin::pin!(interrupt);
    tokio::select! {
        checked = check(&servers, &name, &arguments) => checked?,
        () = &mut interrupt => return Err(Failure::new("interrupted before the load began", 72)),
    }

    let began = Instant::now();
    let plan =
        Arc::new(Plan { until: calls.is_none().then(|| began + duration), left: AtomicU64::new(calls.unwrap_or(u64::MAX)), done: AtomicU64::new(0) });
    let tasks: Vec<_> = (0..concurrency)
        .zip(servers.iter().cycle())
        .map(|(_, server)| tokio::spawn(work(server.clone(), name.clone(), arguments.clone(), plan.clone())))
        .collect();
    let bar = Bar::new(began, duration, calls, plan.clone());
    let working = async {
        let mut all = Seen::new();
        for task in tasks {
            all.add(task.await.map_err(|error| Failure::new(format!("a task of the load ended early: {error}"), 70))?);
        }
        Outcome::Ok(all)
    };
    let mut working = std::pin::pin!(working);
    let all = tokio::select! {
        all = &mut working => all?,
        () = interrupt => {
            // What was seen so far is told.
            plan.left.store(0, Ordering::Relaxed);
            working.await?
        }
    };
    let took = began.elapsed();
    bar.finish();
    for server in &servers {
        server.client.close().await;
    }
    all.print(&name, concurrency, servers.len(), took)?;
    match all.failed.values().max_by_key(|(_, count)| *count) {
        Some((kind, _)) => Err(Failure::of_kind(*kind, "some calls failed")),
        None => Ok(()),
    }
}

/// A mistake shows at the first call, and not a million times. Each connection is ready afterwards.
async fn check(servers: &[Arc<Server>], name: &str, arguments: &Value) -> Outcome {
    for server in servers {
        if let Err(error) = server.options.add_to(server.client.call::<IgnoredAny>(name, Named(arguments))).await
            && error.kind() != ErrorKind::Service
        {
            return Err(server.explain(name, error).await);
        }
    }
    Ok(())
}

async fn work(server: Arc<Server>, name: String, arguments: Arc<Value>, plan: Arc<Plan>) -> Seen {
    let mut seen = Seen::new();
    while plan.goes_on() {
        let began = Instant::now();
        let reply = server.options.add_to(server.client.call::<IgnoredAny>(&name, Named(&*arguments))).await;
        let took = began.elapsed();
        plan.done.fetch_add(1, Ordering::Relaxed);
        match reply {
            Ok(_) => seen.answered(took),
            // An answer like any other: how often it comes is for the reader to judge.
            Err(error) if error.kind() == ErrorKind::Service => {
                seen.answered(took);
                seen.refused += 1;
            }
            Err(error) => {
                seen.failed.entry(error.to_string()).or_insert((error.kind(), 0)).1 += 1;
                if error.is_unavailable() {
                    // The next call connects again: no faster than that makes sense.
                    tokio::time::sleep(TICK).await;
                }
            }
        }
    }
    seen
}

/// Drawn on stderr, and only if that is a terminal.
struct Bar(ProgressBar, tokio::task::JoinHandle<()>);

impl Bar {
    fn new(began: Instant, duration: Duration, calls: Option<u64>, plan: Arc<Plan>) -> Self {
        let length = calls.unwrap_or_else(|| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(length).with_style(style);
        let drawn = bar.clone();
        let drawing = tokio::spawn(async move {
            let (mut last, mut at) = (0, began);
            loop {
                tokio::time::sleep(TICK).await;
                let (now, done) = (Instant::now(), plan.done.load(Ordering::Relaxed));
                let rate = (done - last) as f64 / (now - at).as_secs_f64();
                (last, at) = (done, now);
                drawn.set_position(if calls.is_some() { done } else { u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) });
                drawn.set_message(format!("{} calls, {} a second", HumanCount(done), HumanCount(rate as u64)));
            }
        });
        Self(bar, drawing)
    }

    fn finish(self) {
        self.1.abort();
        self.0.finish_and_clear();
    }
}

impl Seen {
    fn new() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let latency = Histogram::new_with_bounds(1, longest, 3).expect("the bounds are fine: 1 is below an hour, and 3 digits are few");
        Self { latency, refused: 0, failed: BTreeMap::new() }
    }

    fn answered(&mut self, took: Duration) {
        self.latency.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, other: Self) {
        self.latency.add(&other.latency).expect("all have the same bounds");
        self.refused += other.refused;
        for (text, (kind, count)) in other.failed {
            self.failed.entry(text).or_insert((kind, 0)).1 += count;
        }
    }

    fn print(&self, name: &str, concurrency: u32, connections: usize, took: Duration) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let color = screen::has_color(&out);
        let (answered, failed) = (self.latency.len(), self.failed.values().map(|(_, count)| count).sum::<u64>());
        let rate = answered as f64 / took.as_secs_f64();
        writeln!(
            out,
            "{name}: {} calls in {}, {concurrency} in flight on {connections} {}",
            HumanCount(answered + failed),
            duration::show(took),
            if connections == 1 { "connection" } else { "connections" }
        )?;
        writeln!(out, "  rate     {}", screen::paint(color, screen::BOLD, &format!("{} calls/s", HumanCount(rate.round() as u64))))?;
        writeln!(out, "  answered {}", HumanCount(answered))?;
        if self.refused > 0 {
            writeln!(out, "  of these {} with the method's own error", HumanCount(self.refused))?;
        }
        for (text, (kind, count)) in &self.failed {
            let line = format!("  failed   {}: {kind}: {}", HumanCount(*count), screen::printable(text));
            writeln!(out, "{}", screen::paint(color, screen::RED, &line))?;
        }
        if answered > 0 {
            self.print_latency(&mut out, color)?;
        }
        Ok(())
    }

    fn print_latency(&self, out: &mut impl io::Write, color: bool) -> io::Result<()> {
        let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
        for (name, quantile) in quantiles {
            let time = duration::show(Duration::from_nanos(self.latency.value_at_quantile(quantile)));
            writeln!(out, "  {name:<8} {time:>9}")?;
        }
        // Each row is twice as long as the one before.
        let rows: Vec<(u64, u64)> =
            self.latency.iter_log(1_000, 2.0).map(|row| (row.value_iterated_to(), row.count_since_last_iteration())).collect();
        let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
        let first = rows.iter().position(|(_, count)| *count > 0).unwrap_or_default();
        for (to, count) in &rows[first..] {
            let bar = "#".repeat(usize::try_from((count * BAR).div_ceil(most)).unwrap_or_default());
            let bar = screen::paint(color, screen::CYAN, &bar);
            writeln!(out, "  to {:>9}  {bar} {}", duration::show(Duration::from_nanos(to + 1)), HumanCount(*count))?;
        }
        Ok(())
    }
}
