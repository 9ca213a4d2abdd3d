//! What a change of a service does to those who know only the former one, method by method: for tools.
//!
//! Four directions count: an old client's arguments at the new server, that server's replies at the old client, and the same
//! between a new client and an old server. What is read and what is not is decided by `fit/`; the lock file's test asks the same.

use std::collections::BTreeSet;

use super::fit::{Fit, PAIRS, fit_arguments, fit_results};
use super::node::{Node, Schema, Signature};
use super::peer::Peer;

/// What became of one method.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Its name, without the service's.
    pub method: String,
    /// In a word.
    pub verdict: Verdict,
    /// Why: one sentence each.
    pub reasons: Vec<String>,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing changed on the wire.
    Identical,
    /// Old ends and new ones understand each other, in all that they may say.
    Compatible,
    /// Some old end, or some new one that meets an old, does not understand something or anything at all.
    Breaks,
}

/// Compares two schemas of one service. Methods are in the order of their names.
///
/// # Errors
/// What is wrong with a schema: it may come from anywhere.
pub fn compare(old: &Schema, new: &Schema) -> Result<Vec<Change>, String> {
    let (old, new) = (Peer::check(old.clone())?, Peer::check(new.clone())?);
    let names: BTreeSet<&str> = [&old, &new].into_iter().flat_map(|schema| &schema.schema().methods).map(|method| method.name.as_str()).collect();
    let change = |name: &str| {
        let (verdict, reasons) = match (old.method(name), new.method(name)) {
            (Some(before), Some(after)) => method((&old.schema().nodes, before), (&new.schema().nodes, after)),
            (Some(_), None) => (Verdict::Breaks, vec!["removed".to_owned()]),
            // Nobody calls it yet; who calls it before its server has it is told so.
            _ => (Verdict::Compatible, vec!["added".to_owned()]),
        };
        Change { method: name.to_owned(), verdict, reasons }
    };
    Ok(names.into_iter().map(change).collect())
}

type Side<'a> = (&'a [Node], &'a Signature);

fn method(old: Side<'_>, new: Side<'_>) -> (Verdict, Vec<String>) {
    let mut left = PAIRS;
    let directions = [
        ("the arguments of an old client", fit_arguments(old, new, &mut left)),
        ("what an old client gets", fit_results(new, old, &mut left)),
        ("the arguments at an old server", fit_arguments(new, old, &mut left)),
        ("what an old server gives", fit_results(old, new, &mut left)),
    ];
    let (mut verdict, mut reasons) = (Verdict::Identical, Vec::new());
    for (what, fit) in directions {
        let (how, texts) = match fit {
            Fit::Same => continue,
            Fit::Adapts => {
                verdict = verdict.max(Verdict::Compatible);
                continue;
            }
            Fit::Depends(texts) => (", in part", texts),
            Fit::Never(texts) => ("", texts),
        };
        verdict = Verdict::Breaks;
        reasons.extend(texts.into_iter().map(|text| format!("{what}{how}: {text}")));
    }
    (verdict, reasons)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::node::{Field, Fields};

    fn schema(methods: &[(&str, u32)], nodes: &[Node]) -> Schema {
        let signature = |(name, argument): &(&str, u32)| Signature {
            name: (*name).to_owned(),
            arguments: vec![("order".to_owned(), *argument)],
            upload: None,
            returns: Some(0),
            error: None,
            download: None,
        };
        Schema { methods: methods.iter().map(signature).collect(), nodes: nodes.to_vec() }
    }

    fn order(fields: &[(&str, bool, u32)]) -> Node {
        let field =
            |(name, optional, node): &(&str, bool, u32)| Field { name: (*name).to_owned(), aliases: Vec::new(), optional: *optional, node: *node };
        Node::Struct("Order".to_owned(), Fields { list: fields.iter().map(field).collect(), strict: false })
    }

    #[test]
    fn each_method_is_judged_by_itself() {
        let old = schema(&[("gone", 0), ("grown", 2), ("same", 0), ("strict", 2)], &[Node::Unit, Node::U32, order(&[("id", false, 1)])]);
        let new = schema(
            &[("grown", 2), ("new", 0), ("same", 0), ("strict", 3)],
            &[Node::Unit, Node::U32, order(&[("id", false, 1), ("note", true, 1)]), order(&[("id", false, 1), ("currency", false, 1)])],
        );
        let changes = compare(&old, &new).expect("both are sound");
        let verdicts: Vec<_> = changes.iter().map(|change| (change.method.as_str(), change.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("gone", Verdict::Breaks),
                ("grown", Verdict::Compatible),
                ("new", Verdict::Compatible),
                ("same", Verdict::Identical),
                ("strict", Verdict::Breaks)
            ]
        );
        assert_eq!(changes[0].reasons, ["removed"]);
        assert_eq!(changes[2].reasons, ["added"]);
        let [reason] = changes[4].reasons.as_slice() else { panic!("{:?}", changes[4].reasons) };
        assert!(reason.starts_with("the arguments of an old client: order.currency"), "{reason}");
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        let sound = schema(&[("a", 0)], &[Node::Unit]);
        assert!(compare(&sound, &schema(&[("a", 7)], &[Node::Unit])).is_err());
        assert!(compare(&schema(&[("a", 0)], &[Node::Newtype("Round".to_owned(), 0)]), &sound).is_err());
    }
}
