//! On a struct.
use rpc::service;

#[service]
pub struct Shop {
    pub open: bool,
}

fn main() {
    let _ = Shop { open: true };
}
