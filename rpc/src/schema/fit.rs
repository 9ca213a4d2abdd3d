//! stub
use super::node::{Node, Signature};

pub(crate) enum Fit {
    Same,
    Adapts,
    Depends(Vec<String>),
    Never(Vec<String>),
}

pub(crate) fn arguments(writer: (&[Node], &Signature), reader: (&[Node], &Signature)) -> Fit {
    if writer == reader { Fit::Same } else { Fit::Never(vec!["stub".to_owned()]) }
}

pub(crate) fn results(writer: (&[Node], &Signature), reader: (&[Node], &Signature)) -> Fit {
    arguments(writer, reader)
}
