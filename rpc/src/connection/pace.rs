//! How many bytes of large messages may be under way at once, so that small calls do not stand behind a full socket.
//!
//! A ping follows each chunk, and its pong says that the chunk has been read (protocol 6.5). From how fast the answers come,
//! and how much has been read meanwhile, follows what the way holds: twice that is sent and no more, the idea of BBR
//! (Cardwell and others, 2016), between two ends instead of two hosts. Part of `chunked.rs`; it has no clock.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The window before anything is known.
const FIRST: usize = 256 << 10;

/// The least on a way that answers within a millisecond: there, an answer's time is that of two busy ends, not of the way.
const LEAST_NEAR: usize = 128 << 10;
const NEAR: Duration = Duration::from_millis(1);

/// The least on any other.
const LEAST: usize = 16 << 10;

/// The most: what a connection of 1.3 Gbit/s holds in 100 ms.
const MOST: usize = 16 << 20;

/// Answers that are faster count as this: what it takes two ends to turn round.
const TURN: Duration = Duration::from_micros(100);

/// How long an answer's time holds before it is taken again, with nothing else under way: what waits because of us would
/// otherwise count as part of the way, and the window would grow with every turn.
const REMEMBER_ANSWER: Duration = Duration::from_secs(10);

/// How long the highest rate holds; twice as long at most.
const REMEMBER_RATE: Duration = Duration::from_secs(1);

struct Probe {
    number: u64,
    bytes: usize,
    /// When it left, and how much had been read by then.
    sent: Option<(Instant, u64)>,
}

/// The window of one direction of a connection.
pub(crate) struct Pace {
    window: usize,
    chunk: usize,
    under_way: usize,
    probes: VecDeque<Probe>,
    number: u64,
    /// Bytes that the peer has read.
    read: u64,
    /// When it last said so.
    heard: Option<Instant>,
    /// How fast an answer comes.
    answer: Option<Duration>,
    alone: Alone,
    /// Bytes a second.
    rate: Highest,
}

/// Whether a chunk is to go alone, to see how fast its answer comes.
#[derive(Clone, Copy)]
enum Alone {
    /// When the last one did.
    Since(Instant),
    /// The next one will, once all others have been read.
    Next,
    /// The one with this number does.
    Number(u64),
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            window: FIRST,
            chunk: FIRST / 4,
            under_way: 0,
            probes: VecDeque::new(),
            number: 0,
            read: 0,
            heard: None,
            answer: None,
            alone: Alone::Next,
            rate: Highest::default(),
        }
    }
}

impl Pace {
    /// Another chunk may leave.
    pub(crate) fn has_room(&self) -> bool {
        match self.alone {
            // The first ones leave together: most messages are not longer.
            Alone::Next if self.answer.is_some() => self.under_way == 0,
            Alone::Number(_) => false,
            _ => self.under_way < self.window,
        }
    }

    /// How long a chunk should be: many make a window, or a slow way would be taken by one of them for long.
    pub(crate) fn chunk(&self) -> usize {
        self.chunk
    }

    /// A chunk of so many bytes leaves; the number of the ping that follows it.
    pub(crate) fn sent(&mut self, bytes: usize) -> u64 {
        self.number += 1;
        if matches!(self.alone, Alone::Next) && self.answer.is_some() {
            self.alone = Alone::Number(self.number);
        }
        self.under_way += bytes;
        self.probes.push_back(Probe { number: self.number, bytes, sent: None });
        self.number
    }

    /// The number of the ping that was sent last.
    pub(crate) fn last(&self) -> u64 {
        self.number
    }

    /// What was sent since the last time leaves now.
    pub(crate) fn stamp(&mut self, now: Instant) {
        let read = self.read;
        self.probes.iter_mut().rev().take_while(|probe| probe.sent.is_none()).for_each(|probe| probe.sent = Some((now, read)));
    }

    /// Some probe has no time yet.
    pub(crate) fn wants_stamp(&self) -> bool {
        self.probes.back().is_some_and(|probe| probe.sent.is_none())
    }

    /// Since when the peer has read nothing of what it was sent.
    pub(crate) fn owed_since(&self) -> Option<Instant> {
        let (sent, _) = self.probes.front()?.sent?;
        Some(self.heard.map_or(sent, |heard| heard.max(sent)))
    }

    /// The answer to this ping, which may stand for those before it.
    pub(crate) fn answered(&mut self, number: u64, now: Instant) {
        let mut sent = None;
        while self.probes.front().is_some_and(|probe| probe.number <= number)
            && let Some(probe) = self.probes.pop_front()
        {
            self.under_way -= probe.bytes;
            self.read += probe.bytes as u64;
            sent = probe.sent;
            self.heard = Some(now);
        }
        let Some((sent, read_before)) = sent else { return };
        let took = now.saturating_duration_since(sent).max(Duration::from_micros(1));
        let answer = match self.alone {
            Alone::Number(alone) if number >= alone => {
                self.alone = Alone::Since(now);
                took
            }
            _ => self.answer.map_or(took, |known| known.min(took)),
        };
        self.answer = Some(answer);
        if matches!(self.alone, Alone::Since(last) if now.saturating_duration_since(last) > REMEMBER_ANSWER) {
            self.alone = Alone::Next;
        }
        let rate = self.rate.note((self.read - read_before) as f64 / took.as_secs_f64(), now);
        let (least, parts) = if answer < NEAR { (LEAST_NEAR, 2) } else { (LEAST, 8) };
        self.window = (2.0 * rate * answer.max(TURN).as_secs_f64()).clamp(least as f64, MOST as f64) as usize;
        self.chunk = self.window / parts;
    }
}

/// The highest value of late.
#[derive(Default)]
struct Highest {
    /// In the present span of time, and in the one before.
    present: f64,
    before: f64,
    began: Option<Instant>,
}

impl Highest {
    /// Notes this too; the highest so far.
    fn note(&mut self, value: f64, now: Instant) -> f64 {
        let began = *self.began.get_or_insert(now);
        if now.saturating_duration_since(began) > REMEMBER_RATE {
            (self.before, self.present) = (self.present, 0.0);
            self.began = Some(now);
        }
        self.present = self.present.max(value);
        self.present.max(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way that carries `rate` bytes a second, one chunk after the other, and takes `turn` there and back. How long each
    /// answer took while so many bytes went over it.
    fn run(pace: &mut Pace, now: &mut Instant, rate: f64, turn: Duration, bytes: usize) -> Vec<Duration> {
        let (mut answers, mut under_way, mut free, mut sent) = (Vec::new(), VecDeque::new(), *now, 0);
        loop {
            while pace.has_room() && sent < bytes {
                let chunk = pace.chunk().min(64 << 10);
                let number = pace.sent(chunk);
                sent += chunk;
                free = free.max(*now) + Duration::from_secs_f64(chunk as f64 / rate);
                under_way.push_back((number, *now, free + turn));
            }
            pace.stamp(*now);
            let Some((number, began, arrives)) = under_way.pop_front() else { return answers };
            *now = arrives;
            answers.push(arrives - began);
            pace.answered(number, *now);
        }
    }

    #[test]
    fn any_way_is_kept_busy_and_holds_little_more_than_it_has_to() {
        // 10 Gbit/s within a machine, 1 Gbit/s nearby and over a continent, 100 Mbit/s over an ocean, 8 Mbit/s nearby.
        for (rate, turn) in [(1.2e9, 0.000_05), (1.2e8, 0.000_3), (1.2e8, 0.05), (1.2e7, 0.15), (1e6, 0.02)] {
            let (mut pace, mut now) = (Pace::default(), Instant::now());
            let turn = Duration::from_secs_f64(turn);
            let bytes = (rate * 5.0) as usize;
            run(&mut pace, &mut now, rate, turn, bytes);
            let began = now;
            // For longer than anything is remembered.
            let bytes = 6 * bytes;
            let answers = run(&mut pace, &mut now, rate, turn, bytes);
            let busy = bytes as f64 / rate / (now - began).as_secs_f64();
            assert!(busy > 0.8, "{rate} bytes/s at {turn:?}: only {busy:.2} of it is used");
            let longest = answers.into_iter().max().unwrap_or_default();
            let (least, chunk) = (Duration::from_secs_f64(LEAST_NEAR as f64 / rate), pace.chunk().min(64 << 10));
            let most = if turn < NEAR { turn + 3 * TURN + 2 * least } else { 3 * turn + Duration::from_secs_f64(4.0 * chunk as f64 / rate) };
            assert!(longest <= most, "{rate} bytes/s at {turn:?}: an answer took {longest:?}, not at most {most:?}");
        }
    }

    #[test]
    fn it_finds_out_when_the_way_has_changed() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let turn = Duration::from_millis(10);
        run(&mut pace, &mut now, 1e8, turn, 1 << 28);
        let before = pace.window;
        run(&mut pace, &mut now, 1e7, turn, 1 << 28);
        assert!(pace.window < before / 4, "slower: {} after {before}", pace.window);
        run(&mut pace, &mut now, 1e7, 10 * turn, 1 << 29);
        let began = now;
        run(&mut pace, &mut now, 1e7, 10 * turn, 1 << 28);
        let busy = f64::from(1 << 28) / 1e7 / (now - began).as_secs_f64();
        assert!(busy > 0.8, "longer: only {busy:.2} of it is used");
    }

    #[test]
    fn one_answer_stands_for_several() {
        let mut pace = Pace::default();
        let numbers: Vec<_> = (0..4).map(|_| pace.sent(64 << 10)).collect();
        assert!(!pace.has_room() && pace.wants_stamp());
        pace.stamp(Instant::now());
        assert!(!pace.wants_stamp());
        pace.answered(numbers[2], Instant::now());
        assert_eq!(pace.under_way, 64 << 10);
        pace.answered(numbers[0], Instant::now());
        assert_eq!(pace.under_way, 64 << 10, "a late one is of no use");
        pace.answered(u64::MAX, Instant::now());
        assert_eq!(pace.under_way, 0);
    }
}
