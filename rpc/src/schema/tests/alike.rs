//! Tables at random, small ones so that many are the same: alike where the hashes are, and nowhere else.

use crate::schema::alike::alike;
use crate::schema::node::{Field, Fields, Id, Node, Schema, Shape, Signature, Variant};
use crate::schema::own::{Hashes, Own};
use crate::schema::peer::Peer;
use crate::schema::table::Hasher;

struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % count
    }

    fn name(&mut self) -> String {
        ["a", "b"][self.below(2)].to_owned()
    }

    fn parts(&mut self, types: usize) -> Vec<Id> {
        (0..self.below(3)).map(|_| self.below(types) as Id).collect()
    }

    fn fields(&mut self, types: usize) -> Fields {
        let list = self.parts(types).into_iter().map(|node| Field { name: self.name(), aliases: Vec::new(), optional: self.below(2) == 0, node });
        Fields { list: list.collect(), strict: false }
    }

    fn shape(&mut self, types: usize) -> Shape {
        match self.below(5) {
            0 => Shape::Unit,
            1 => Shape::Newtype(self.below(types) as Id),
            2 => Shape::Tuple(self.parts(types)),
            3 => Shape::Struct(self.fields(types)),
            _ => Shape::Unknown,
        }
    }

    fn node(&mut self, types: usize) -> Node {
        let part = self.below(types) as Id;
        match self.below(14) {
            0 => Node::Unit,
            1 => Node::UnitStruct(self.name()),
            2 => Node::U8,
            3 => Node::Option(part),
            4 => Node::Seq(part),
            5 => Node::Map(part, self.below(types) as Id),
            6 => Node::Tuple(self.parts(types)),
            7 => Node::TupleStruct(self.name(), self.parts(types)),
            8 => Node::Struct(self.name(), self.fields(types)),
            9 => Node::Newtype(self.name(), part),
            10 => Node::Logical(self.name(), part),
            11 => {
                let variant = |random: &mut Self| Variant { name: random.name(), aliases: Vec::new(), other: false, shape: random.shape(types) };
                Node::Enum(self.name(), (0..self.below(3)).map(|_| variant(self)).collect())
            }
            // More of them than of others: they are what is special.
            _ => Node::Opaque(self.name()),
        }
    }

    /// With a sound table.
    fn schema(&mut self) -> Schema {
        loop {
            let types = 1 + self.below(5);
            let nodes: Vec<Node> = (0..types).map(|_| self.node(types)).collect();
            let arguments = self.parts(types).into_iter().map(|id| (self.name(), id)).collect();
            let upload = (self.below(4) == 0).then(|| (self.name(), self.below(types) as Id));
            let (returns, error) = (Some(self.below(types) as Id), None);
            let schema = Schema { methods: vec![Signature { name: "m".to_owned(), arguments, upload, returns, error, download: None }], nodes };
            if Peer::check(schema.clone()).is_ok() {
                return schema;
            }
        }
    }
}

#[test]
fn methods_are_alike_where_their_hashes_are_equal_and_nowhere_else() {
    let mut random = Random(0x5eed_1e55_0ddb_a115);
    let (mut same, mut opaque) = (0, 0);
    for _ in 0..60_000 {
        let (ours, theirs) = (random.schema(), random.schema());
        let hash = |schema: &Schema| Hashes::of(&schema.methods[0], &Hasher::new(&schema.nodes));
        let expected = hash(&ours) == hash(&theirs);
        let hasher = Hasher::new(&ours.nodes);
        let own = Own { schema: ours, bytes: Vec::new(), hasher, hashes: Vec::new(), hash: 0, problems: Vec::new(), passes: 0 };
        let peer = Peer::check(theirs).expect("it was sound");
        let found = alike(&own, &own.schema.methods[0], &peer, &peer.schema().methods[0], &mut usize::MAX.clone());
        assert_eq!(found, expected, "{:?} and {:?}", own.schema, peer.schema());
        same += usize::from(expected);
        opaque += usize::from(expected && own.schema != *peer.schema() && own.schema.nodes.iter().any(|node| matches!(node, Node::Opaque(_))));
    }
    assert!(same > 200 && opaque > 60, "{same} {opaque}");
}
