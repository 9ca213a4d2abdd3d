//! stub
use super::node::Schema;

pub(crate) struct Peer {
    schema: Schema,
}

impl Peer {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map(|schema| Self { schema }).map_err(|error| error.to_string())
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }
}
