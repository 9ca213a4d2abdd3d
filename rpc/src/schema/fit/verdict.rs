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

    /// What becomes of it once a part has come to this level; `never` of its parts cannot be read at all.
    fn with(&self, part: Level, never: usize) -> Level {
        let level = match self.combine {
            Combine::All => part,
            Combine::One if never == self.parts.len() => Level::Never,
            Combine::Maybe | Combine::One => part.min(Level::Depends),
        };
        self.level.max(level)
    }
}

/// Passes verdicts on from parts to wholes until nothing changes, and gives that of the root. A pair changes three times at most,
/// and then tells each of its wholes once, so this takes time by the number of parts; a type that contains itself is as good as
/// the rest of it.
pub(super) fn settle(pairs: &mut [Pair], root: usize) -> Level {
    let mut users = vec![Vec::new(); pairs.len()];
    for (user, pair) in pairs.iter().enumerate() {
        for part in &pair.parts {
            users[*part].push(user);
        }
    }
    pairs.iter_mut().for_each(|pair| pair.level = pair.own);
    // What the users of each pair have been told, and how many parts of each cannot be read at all.
    let (mut told, mut never) = (vec![Level::Same; pairs.len()], vec![0; pairs.len()]);
    let mut open: Vec<usize> = (0..pairs.len()).collect();
    while let Some(part) = open.pop() {
        let level = pairs[part].level;
        if std::mem::replace(&mut told[part], level) == level {
            continue;
        }
        for &user in &users[part] {
            never[user] += usize::from(level == Level::Never);
            let becomes = pairs[user].with(level, never[user]);
            if becomes > pairs[user].level {
                pairs[user].level = becomes;
                open.push(user);
            }
        }
    }
    pairs[root].level
}
