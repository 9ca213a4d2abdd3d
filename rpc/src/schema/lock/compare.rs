//! What a change of a contract does to those who know only the old one.
//!
//! Four directions count: an old client's arguments at the new server, that server's replies at the old client, and the same between
//! a new client and an old server. Values of which only some can be read break, too: a release is no place to find out.

use std::collections::BTreeSet;
use std::fmt;

use super::Lock;
use super::text::write;
use crate::schema::fit::{Fit, PAIRS, fit_arguments, fit_results};
use crate::schema::node::{Node, Signature};

/// What became of a contract.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// What a method or the service does to old clients, and to old servers.
    pub(super) breaks_clients: Vec<String>,
    pub(super) breaks_servers: Vec<String>,
    /// What changed and breaks nobody.
    pub(super) compatible: Vec<String>,
}

impl Comparison {
    pub(super) fn of(old: &Lock, new: &Lock) -> Self {
        let mut comparison = Self::default();
        if old.service != new.service {
            let renamed = format!("{}: now called {}, which nobody finds who knows the old name", old.service, new.service);
            comparison.breaks_clients.push(renamed.clone());
            comparison.breaks_servers.push(renamed);
            return comparison;
        }
        let (before, after) = (&old.schema.methods, &new.schema.methods);
        let names: BTreeSet<&str> = before.iter().chain(after).map(|method| method.name.as_str()).collect();
        for name in names {
            let find = |methods: &'_ [Signature]| methods.iter().position(|method| method.name == name);
            match (find(before), find(after)) {
                (Some(before), Some(after)) => comparison.method(name, (old, before), (new, after)),
                (Some(_), None) => comparison.breaks_clients.push(format!("{name}: removed")),
                // Nobody calls it yet; what calls it before its server has it is told so.
                (None, _) => comparison.compatible.push(format!("{name}: added")),
            }
        }
        comparison
    }

    fn method(&mut self, name: &str, old: (&Lock, usize), new: (&Lock, usize)) {
        let (old, new) = (side(old), side(new));
        let calls = |found: Fit, clients: bool, who: &str| (found, clients, who.to_owned());
        let mut left = PAIRS;
        let directions = [
            calls(fit_arguments(old, new, &mut left), true, "arguments of an old client"),
            calls(fit_results(new, old, &mut left), true, "replies to an old client"),
            calls(fit_arguments(new, old, &mut left), false, "arguments at an old server"),
            calls(fit_results(old, new, &mut left), false, "replies of an old server"),
        ];
        let mut changed = false;
        let mut breaks = false;
        for (found, clients, who) in directions {
            changed |= !matches!(found, Fit::Same);
            let texts = match found {
                Fit::Same | Fit::Adapts => continue,
                Fit::Depends(texts) | Fit::Never(texts) => texts,
            };
            breaks = true;
            let list = if clients { &mut self.breaks_clients } else { &mut self.breaks_servers };
            list.extend(texts.into_iter().map(|text| format!("{name}: {who}: {text}")));
        }
        if changed && !breaks {
            self.compatible.push(format!("{name}: changed, and adapted where one end is older"));
        }
    }

    /// In a word or two.
    pub(super) fn class(&self) -> &'static str {
        match (self.breaks_clients.is_empty(), self.breaks_servers.is_empty(), self.compatible.is_empty()) {
            (true, true, true) => "identical on the wire",
            (true, true, false) => "compatible",
            (false, true, _) => "breaks old clients",
            (true, false, _) => "breaks old servers",
            (false, false, _) => "breaks old clients and old servers",
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [("breaks old clients", &self.breaks_clients), ("breaks old servers", &self.breaks_servers), ("compatible", &self.compatible)];
        for (title, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            writeln!(f, "{title}:")?;
            for text in list {
                writeln!(f, "    {text}")?;
            }
        }
        Ok(())
    }
}

/// A method among the types of its service.
fn side((lock, method): (&Lock, usize)) -> (&[Node], &Signature) {
    (&lock.schema.nodes, &lock.schema.methods[method])
}

/// The lines that differ, each under the head of its definition: `- ` old, `+ ` new. Empty if none do.
pub(super) fn difference(old: &Lock, new: &Lock) -> String {
    let (old, new) = (write(old), write(new));
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let common = common(&old, &new);
    let mut out = String::new();
    let (mut head, mut shown) = ("", "");
    let (mut left, mut right) = (0, 0);
    for (next_left, next_right) in common.into_iter().chain([(old.len(), new.len())]) {
        for line in old[left..next_left].iter().map(|line| ("-", line)).chain(new[right..next_right].iter().map(|line| ("+", line))) {
            let (sign, line) = line;
            if line.is_empty() {
                continue;
            }
            if line.starts_with(' ') && head != shown {
                out.push_str(&format!("  {head}\n"));
                shown = head;
            }
            if line.ends_with('{') {
                (head, shown) = (line, line);
            }
            out.push_str(&format!("{sign} {line}\n"));
        }
        if let Some(line) = old.get(next_left)
            && line.ends_with('{')
        {
            head = line;
        }
        (left, right) = (next_left + 1, next_right + 1);
    }
    out
}

/// The places of the lines of a longest common subsequence, in both.
fn common(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    // How long it is from here on. A contract has hundreds of lines.
    let mut longest = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for left in (0..old.len()).rev() {
        for right in (0..new.len()).rev() {
            longest[left][right] =
                if old[left] == new[right] { longest[left + 1][right + 1] + 1 } else { longest[left + 1][right].max(longest[left][right + 1]) };
        }
    }
    let (mut left, mut right, mut common) = (0, 0, Vec::new());
    while left < old.len() && right < new.len() {
        if old[left] == new[right] {
            common.push((left, right));
            (left, right) = (left + 1, right + 1);
        } else if longest[left + 1][right] >= longest[left][right + 1] {
            left += 1;
        } else {
            right += 1;
        }
    }
    common
}
