//! Verdicts and their reasons, from tables alone. Whether they are true is held by `adapt/tests/evolution.rs`.

use super::super::node::{Field, Fields, Shape, Variant};
use super::*;

fn field(name: &str, node: Id) -> Field {
    Field { name: name.into(), aliases: Vec::new(), optional: false, node }
}

fn structure(fields: &[(&str, Id)]) -> Node {
    Node::Struct("S".into(), Fields { list: fields.iter().map(|(name, id)| field(name, *id)).collect(), strict: false })
}

fn variant(name: &str, shape: Shape) -> Variant {
    Variant { name: name.into(), aliases: Vec::new(), other: false, shape }
}

fn units(names: &[&str]) -> Node {
    Node::Enum("E".into(), names.iter().map(|name| variant(name, Shape::Unit)).collect())
}

fn roots(writer: &[Node], reader: &[Node]) -> Fit {
    fit((writer, 0), (reader, 0))
}

fn depends(reasons: &[&str]) -> Fit {
    Fit::Depends(reasons.iter().map(|reason| (*reason).to_owned()).collect())
}

fn never(reasons: &[&str]) -> Fit {
    Fit::Never(reasons.iter().map(|reason| (*reason).to_owned()).collect())
}

#[test]
fn reasons_name_the_place() {
    let order = |qty| vec![structure(&[("lines", 1), ("reason", 3)]), Node::Seq(2), structure(&[("qty", 4)]), units(&["Stolen", "Lost"]), qty];
    let mut writer = order(Node::U32);
    writer[3] = units(&["Stolen", "Lost", "Fraud"]);
    let expected = ["lines[].qty: u32 may not fit u8", "when reason is Fraud: unknown variant Fraud, expected Stolen or Lost"];
    let Fit::Depends(mut reasons) = roots(&writer, &order(Node::U8)) else { panic!("some can be read") };
    reasons.sort();
    assert_eq!(reasons, expected);
    assert_eq!(roots(&writer, &writer), Fit::Same);
}

#[test]
fn what_is_in_every_value_decides_and_what_need_not_be_there_does_not() {
    let inside = |around: Node| vec![around, Node::Str];
    let number = |around: Node| vec![around, Node::U8];
    let reason = "a string, where u8 is expected";
    assert_eq!(roots(&inside(Node::Tuple(vec![1])), &number(Node::Tuple(vec![1]))), never(&[&format!("[0]: {reason}")]));
    assert_eq!(roots(&inside(Node::Option(1)), &number(Node::Option(1))), depends(&[&format!("the value: {reason}")]));
    assert_eq!(roots(&inside(Node::Seq(1)), &number(Node::Seq(1))), depends(&[&format!("[]: {reason}")]));
    let one = |of| Node::Enum("E".into(), vec![variant("A", Shape::Newtype(of)), variant("B", Shape::Unit)]);
    assert_eq!(roots(&inside(one(1)), &number(one(1))), depends(&[&format!("A: {reason}")]));
    let all = Node::Enum("E".into(), vec![variant("A", Shape::Newtype(1)), variant("B", Shape::Newtype(1))]);
    assert!(matches!(roots(&inside(all.clone()), &number(all)), Fit::Never(_)), "whichever it is");
    assert!(matches!(roots(&[units(&["A"])], &[units(&["B"])]), Fit::Never(_)));
}

#[test]
fn a_field_that_is_missing_is_named() {
    let (writer, reader) = (vec![structure(&[("id", 1)]), Node::U8], vec![structure(&[("id", 1), ("currency", 1)]), Node::U8]);
    assert_eq!(roots(&writer, &reader), never(&["currency: missing, and the reader has no default"]));
    assert_eq!(roots(&reader, &writer), Fit::Adapts);
}

#[test]
fn a_type_that_contains_itself_is_as_good_as_the_rest_of_it() {
    let list = |number| vec![structure(&[("value", 1), ("next", 2)]), number, Node::Option(0)];
    assert_eq!(roots(&list(Node::U8), &list(Node::U8)), Fit::Same);
    assert_eq!(roots(&list(Node::U8), &list(Node::U16)), Fit::Adapts);
    assert_eq!(roots(&list(Node::U16), &list(Node::U8)), depends(&["value: u16 may not fit u8"]));
    // Unrolled once, it is the same.
    let unrolled = vec![structure(&[("value", 1), ("next", 2)]), Node::U8, Node::Option(3), structure(&[("value", 1), ("next", 4)]), Node::Option(3)];
    assert_eq!(roots(&unrolled, &list(Node::U8)), Fit::Same);
}

/// Where everything else is the same, plain bytes pass; nobody has to read them part by part.
#[test]
fn unknown_types_are_the_same_or_are_not_read() {
    let with = |number| vec![Node::Tuple(vec![1, 2]), Node::Opaque("no value was found".into()), number];
    assert_eq!(roots(&with(Node::U8), &with(Node::U8)), Fit::Same);
    assert_eq!(roots(&with(Node::U8), &with(Node::U16)), never(&["[0]: the shape of the type is not known"]));
}

#[test]
fn newtypes_and_names_of_types_do_not_matter() {
    let wrapped = vec![Node::Newtype("Id".into(), 1), Node::Logical("uuid::Uuid".into(), 2), Node::Bytes];
    assert_eq!(roots(&wrapped, &[Node::Bytes]), Fit::Same);
}

fn method(arguments: &[(&str, Id)], returns: Option<Id>) -> Signature {
    let arguments = arguments.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
    Signature { name: "pay".into(), arguments, upload: None, returns, error: None, download: None }
}

#[test]
fn arguments_go_by_name() {
    let nodes = [Node::U32, Node::U8, Node::Option(0)];
    let fits = |writer: &[_], reader: &[_]| fit_arguments((&nodes, &method(writer, None)), (&nodes, &method(reader, None)), &mut PAIRS.clone());
    assert_eq!(fits(&[("order", 0)], &[("order", 0)]), Fit::Same);
    assert_eq!(fits(&[("a", 0), ("b", 1)], &[("b", 1), ("a", 0)]), Fit::Adapts);
    assert_eq!(fits(&[("a", 0), ("b", 1)], &[("b", 1)]), Fit::Adapts);
    assert_eq!(fits(&[], &[("more", 2)]), Fit::Adapts);
    assert_eq!(fits(&[], &[("more", 0)]), never(&["more: missing, and the reader has no default"]));
    assert_eq!(fits(&[("a", 0)], &[("a", 1)]), depends(&["a: u32 may not fit u8"]));
}

#[test]
fn values_errors_and_streams_of_a_method_are_compared_apart() {
    let nodes = [Node::U32, Node::U8];
    let fits = |writer: &Signature, reader: &Signature| fit_results((&nodes, writer), (&nodes, reader), &mut PAIRS.clone());
    let value = |returns| method(&[], returns);
    assert_eq!(fits(&value(Some(0)), &value(Some(0))), Fit::Same);
    assert_eq!(fits(&value(Some(0)), &value(Some(1))), depends(&["the reply: u32 may not fit u8"]));
    assert_eq!(fits(&value(Some(0)), &value(None)), never(&["the reply: a value, where none is expected"]));
    let failing = |error| Signature { error: Some(error), ..value(Some(0)) };
    assert_eq!(fits(&failing(0), &value(Some(0))), Fit::Adapts, "a method may come to fail");
    assert_eq!(fits(&failing(0), &failing(1)), depends(&["the error: u32 may not fit u8"]));
    let stream = |download| Signature { download: Some(download), ..value(None) };
    assert_eq!(fits(&stream(1), &stream(0)), Fit::Adapts);
    assert_eq!(fits(&stream(0), &stream(1)), depends(&["the stream[]: u32 may not fit u8"]));
    assert!(matches!(fits(&stream(0), &value(None)), Fit::Never(_)));
    let upload = |id| Signature { upload: Some(("rows".into(), id)), ..value(None) };
    assert_eq!(fit_arguments((&nodes, &upload(0)), (&nodes, &upload(1)), &mut PAIRS.clone()), depends(&["rows[]: u32 may not fit u8"]));
}

/// A stranger's table may have pairs without end, and reasons too.
#[test]
fn comparing_ends() {
    let wide = |count: u32, leaf: Node| {
        let mut nodes = vec![Node::Tuple((1..=count).collect())];
        nodes.extend((0..count).map(|id| Node::Seq(1 + (id + 1) % count)));
        nodes.push(leaf);
        nodes
    };
    // 61 and 67 have no common factor: all pairs meet.
    assert_eq!(roots(&wide(61, Node::U8), &wide(61, Node::U8)), Fit::Same);
    assert!(matches!(roots(&wide(67, Node::U8), &wide(61, Node::U8)), Fit::Adapts));
    let many = |leaf: Node| vec![Node::Tuple(vec![1; 100]), leaf];
    let Fit::Depends(reasons) = roots(&many(Node::U16), &many(Node::U8)) else { panic!("some fit") };
    assert_eq!(reasons.len(), 1, "each pair once");
    let names: Vec<_> = (0..100).map(|n| format!("{n}\n{}", "x".repeat(500))).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let Fit::Never(reasons) = roots(&[structure(&[])], &[structure(&fields), Node::U8]) else { panic!("all are missing") };
    assert!(reasons.len() <= 32 && reasons.iter().all(|reason| reason.len() <= 300 && !reason.contains('\n')));
}

/// A place in types thousands deep, for each of them: a stranger's schema would take gigabytes to compare.
#[test]
fn places_stay_short_however_deep_types_are() {
    let own = [structure(&[("next", 1)]), Node::Option(0)];
    let theirs: Vec<Node> = (0..2000).flat_map(|n| [structure(&[("next", 2 * n + 1)]), Node::Option((2 * n + 2) % 4000)]).collect();
    let mut left = PAIRS;
    let mut comparison = Comparison::new(&theirs, &own, &mut left);
    let root = comparison.root(Combine::All);
    comparison.part(root, Written::Id(0), Wanted::Id(0), String::new());
    while let Some((pair, written, wanted)) = comparison.open.pop() {
        let path = comparison.pairs[pair].path.clone();
        let outcome = rules::compare(&theirs, &own, written, wanted, &path);
        comparison.apply(pair, outcome);
    }
    assert!(comparison.pairs.len() > 2000);
    let longest = comparison.pairs.iter().map(|pair| pair.path.len()).max();
    assert!(longest <= Some(REASON), "{longest:?} bytes");
}

/// What a stranger's schema of a few hundred KiB can name: variants that all meet the same one of ours, and all differ.
#[test]
fn many_parts_of_one_pair_take_time_by_their_number_and_not_its_square() {
    let many = (0..PAIRS - 2).map(|_| variant("A", Shape::Newtype(1))).collect();
    let writer = [Node::Enum("E".into(), many), Node::U8];
    let began = std::time::Instant::now();
    assert_eq!(roots(&writer, &[units(&["A", "B"])]), Fit::Adapts);
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn reasons_that_nobody_will_read_are_not_made() {
    let many: Vec<_> = (0..1000).map(|at| variant(&format!("V{at}"), Shape::Unit)).collect();
    let (writer, reader) = ([Node::Enum("E".into(), many)], [units(&["A", "B"])]);
    let outcome = rules::compare(&writer, &reader, Written::Id(0), Wanted::Id(0), "");
    assert!(outcome.notes.len() <= REASONS + 2, "{}", outcome.notes.len());
    assert!(matches!(roots(&writer, &reader), Fit::Never(_)), "all are counted nevertheless");
}
