//! What a server serves, by name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::service::Service;
use crate::{Error, ErrorKind};

/// Services and run-time methods by their wire names.
#[derive(Default)]
pub(crate) struct Registry {
    services: HashMap<&'static str, Arc<dyn Service>>,
    /// `Shop.pay` and run-time names.
    methods: HashMap<String, (Arc<dyn Service>, u16)>,
}

impl Registry {
    /// # Errors
    /// `InvalidInput` when a name is taken, or is none.
    pub(crate) fn add(&mut self, service: Arc<dyn Service>) -> Result<(), Error> {
        let contract = service.contract();
        if !contract.name.is_empty() && self.services.insert(contract.name, service.clone()).is_some() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("two services are named {}: give one of them #[service(name = \"..\")]", contract.name),
            ));
        }
        if !contract.name.is_empty() {
            // Users' code, before there is anybody who waits.
            contract.own();
        }
        for (number, method) in contract.methods.iter().enumerate() {
            if method.name.is_empty() {
                return Err(Error::new(ErrorKind::InvalidInput, "a method needs a name"));
            }
            let name = contract.full_name(number);
            if self.methods.insert(name.clone(), (service.clone(), number as u16)).is_some() {
                return Err(Error::new(ErrorKind::InvalidInput, format!("two methods are named {name}")));
            }
        }
        Ok(())
    }

    pub(crate) fn service(&self, name: &str) -> Option<Arc<dyn Service>> {
        self.services.get(name).cloned()
    }

    pub(crate) fn method(&self, name: &str) -> Option<(Arc<dyn Service>, u16)> {
        self.methods.get(name).cloned()
    }
}
