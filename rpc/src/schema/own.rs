//! stub
use super::node::{Schema, Signature};
use crate::service::Contract;

#[derive(Debug)]
pub struct Own {
    pub(crate) schema: Schema,
    pub(crate) bytes: Vec<u8>,
}

impl Own {
    pub(crate) fn of(contract: &Contract) -> Self {
        let methods = contract
            .methods
            .iter()
            .map(|method| Signature { name: method.name.to_owned(), arguments: Vec::new(), upload: None, returns: None, error: None, download: None })
            .collect();
        let schema = Schema { methods, nodes: Vec::new() };
        let bytes = postcard::to_stdvec(&schema).expect("a schema can be written");
        Self { schema, bytes }
    }
}
