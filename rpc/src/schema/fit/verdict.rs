//! What becomes of a pair of types by what became of its parts.

/// How much of what is written can be read; the later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Same,
    Adapts,
    Depends,
    Never,
}

/// How parts matter to the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combine {
    /// Each of them is in every value.
    All,
    /// They need not be there.
    Maybe,
    /// One of them is in each value.
    One,
}

/// Two types that meet, or some of their parts.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) combine: Combine,
    /// Where they were met first: `order.lines[].qty`.
    pub(super) path: String,
    pub(super) parts: Vec<usize>,
    /// Two types that nobody knows, but which are the same.
    pub(super) opaque: bool,
    pub(super) reasons: Vec<String>,
    /// Without regard to the parts.
    own: Level,
    level: Level,
}

impl Pair {
    pub(super) fn new(combine: Combine, path: String) -> Self {
        Self { combine, path, parts: Vec::new(), opaque: false, reasons: Vec::new(), own: Level::Same, level: Level::Same }
    }

    /// It is at least this bad.
    pub(super) fn note(&mut self, level: Level, reason: String) {
        self.own = self.own.max(level);
        if level >= Level::Depends {
            self.reasons.push(reason);
        }
    }

    fn level(&self, pairs: &[Self]) -> Level {
        let parts = self.parts.iter().map(|part| pairs[*part].level);
        let worst = parts.clone().max().unwrap_or(Level::Same);
        let parts = match self.combine {
            Combine::All => worst,
            Combine::Maybe => worst.min(Level::Depends),
            Combine::One if parts.clone().min() == Some(Level::Never) => Level::Never,
            Combine::One => worst.min(Level::Depends),
        };
        self.own.max(parts)
    }
}

/// Passes verdicts on from parts to wholes until nothing changes, and gives that of the root. A pair changes three times at most,
/// so this ends; a type that contains itself is as good as the rest of it.
pub(super) fn settle(pairs: &mut [Pair], root: usize) -> Level {
    let mut users = vec![Vec::new(); pairs.len()];
    for (user, pair) in pairs.iter().enumerate() {
        for part in &pair.parts {
            users[*part].push(user);
        }
    }
    let mut open: Vec<usize> = (0..pairs.len()).collect();
    while let Some(pair) = open.pop() {
        let level = pairs[pair].level(pairs);
        if level > pairs[pair].level {
            pairs[pair].level = level;
            open.extend(&users[pair]);
        }
    }
    pairs[root].level(pairs)
}
