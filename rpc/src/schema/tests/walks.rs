//! Walking a message by a schema: any bytes, any table, an end to it.

use serde::{Deserialize, Serialize};

use super::nodes;
use crate::schema::node::Node;
use crate::schema::walk::walk;

#[derive(Serialize, Deserialize)]
struct Order {
    id: u64,
    lines: Vec<(String, u32, Option<char>)>,
    paid: Result<bool, f64>,
}

fn order() -> Vec<u8> {
    let lines = vec![("tea".to_owned(), 70_000, Some('é')), (String::new(), 0, None)];
    postcard::to_stdvec(&Order { id: u64::MAX, lines, paid: Ok(true) }).unwrap()
}

#[test]
fn a_fault_says_where() {
    let (nodes, root) = nodes::<Order>();
    let mut bytes = order();
    assert_eq!(walk(&nodes, root, &bytes), Ok(bytes.len()));
    let last = bytes.len() - 1;
    bytes[last] = 2;
    assert_eq!(walk(&nodes, root, &bytes), Err("paid.Ok: 2 is no bool".to_owned()));
    assert_eq!(walk(&nodes, root, &bytes[..14]), Err("lines[0].0: 3 bytes where 2 are left".to_owned()));
    assert_eq!(walk(&nodes, 99, &bytes), Err("a type that is not in the table".to_owned()));
}

#[test]
fn numbers_have_no_more_bits_than_their_type() {
    for (bytes, ok) in [(&[0xff, 0xff, 0x03][..], true), (&[0xff, 0xff, 0x04], false), (&[0x80, 0x80, 0x80, 0], false)] {
        assert_eq!(walk(&[Node::U16], 0, bytes).is_ok(), ok, "{bytes:?}");
        assert_eq!(postcard::from_bytes::<u16>(bytes).is_ok(), ok, "{bytes:?}");
    }
}

#[test]
fn what_is_empty_does_not_keep_it_forever() {
    let endless = u64::MAX;
    let bytes = postcard::to_stdvec(&endless).unwrap();
    assert!(walk(&[Node::Seq(1), Node::Unit], 0, &bytes).is_err());
    // Each level holds the next one twice, and none takes a byte.
    let doubling: Vec<Node> = (1..=100).map(|next| Node::Tuple(vec![next, next])).chain([Node::Unit]).collect();
    assert!(walk(&doubling, 0, &[]).is_err());
    let itself = [Node::Newtype("A".to_owned(), 0)];
    assert!(walk(&itself, 0, &bytes).is_err());
}

#[test]
fn every_broken_message_has_an_end() {
    let (nodes, root) = nodes::<Order>();
    let good = order();
    for at in 0..good.len() {
        for byte in 0..=u8::MAX {
            let mut bytes = good.clone();
            bytes[at] = byte;
            // The same verdict as the type's own: every such value is one of it.
            let walked = walk(&nodes, root, &bytes);
            let read = postcard::take_from_bytes::<Order>(&bytes).map(|(_, rest)| bytes.len() - rest.len());
            assert_eq!(walked.as_ref().ok(), read.as_ref().ok(), "{bytes:?}: {walked:?}");
        }
    }
}
