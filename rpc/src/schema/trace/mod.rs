//! Finds out what a type looks like on the wire by reading values of it, again and again, until nothing new is asked for.
//!
//! No derive of ours: the type's own `Deserialize` tells. Not here: many types in one table (`table.rs`), and whole services (`own.rs`).
//!
//! - `tracer.rs`: the source that answers a type's questions; `frame.rs`: where it stands
//! - `state.rs`: what is known; `plan.rs`: what is not; `candidates.rs`: values to try
//! - `names.rs`: what the compiler's names tell; `finish.rs`: the table of nodes
//! - `check.rs`: whether the type's `Serialize` writes what its `Deserialize` reads

mod candidates;
mod check;
mod finish;
mod frame;
mod names;
mod plan;
mod state;
mod tracer;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::check::Sample;
pub(crate) use self::names::short;
use self::tracer::Tracer;
use super::Reader;
use super::node::{Id, Node};
use crate::frame::payload::Fault;

/// A type that asks for something new longer than this is not traced.
const PASSES: u32 = 10_000;
/// A type that panics more often than this is not traced.
const PANICS: u32 = 16;

/// A type as it was found.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Id,
    /// What will not work on the wire, with the type and the attribute.
    pub(crate) problems: Vec<String>,
    /// How often it was read.
    pub(crate) passes: u32,
    /// A value of it could be made.
    #[cfg_attr(not(test), allow(dead_code, reason = "tests look whether nothing is hidden"))]
    pub(crate) built: bool,
}

/// Traces the type that `read` reads. The same type gives the same nodes, whatever was traced before.
pub(crate) fn trace(read: &mut dyn FnMut(Reader<'_, 'static>) -> Result<(), Fault>) -> Traced {
    let mut search = Search { tracer: Tracer::new(), samples: Vec::new(), unwritten: None, passes: 0, panics: 0 };
    let settled = search.explore(read) && search.probe(read);
    search.finish(settled)
}

struct Search {
    tracer: Tracer,
    samples: Vec<Sample>,
    /// Why a value could not be written.
    unwritten: Option<String>,
    passes: u32,
    panics: u32,
}

type Read<'a> = &'a mut dyn FnMut(Reader<'_, 'static>) -> Result<(), Fault>;

impl Search {
    /// Finds all parts of the type. False: there is no end to it.
    fn explore(&mut self, read: Read<'_>) -> bool {
        self.tracer.probing = false;
        self.run(read)
    }

    /// Finds which names it needs, refuses and takes for others; makes values that are as empty as can be.
    fn probe(&mut self, read: Read<'_>) -> bool {
        self.tracer.probing = true;
        self.tracer.progress += 1;
        self.run(read)
    }

    fn run(&mut self, read: Read<'_>) -> bool {
        loop {
            if self.passes >= PASSES || self.panics >= PANICS {
                return false;
            }
            let before = self.tracer.progress;
            self.pass(read);
            if self.tracer.progress != before {
                continue;
            }
            // It went somewhere for nothing: the last place is the one that the pass may have failed at.
            match self.tracer.ventures.last() {
                Some(venture) => self.tracer.settle(*venture),
                None => return true,
            }
        }
    }

    fn pass(&mut self, read: Read<'_>) {
        self.passes += 1;
        self.tracer.begin();
        let mut written = Ok(Vec::new());
        let tracer = &mut self.tracer;
        let reader = Reader { source: tracer, written: Some(&mut written) };
        match catch_unwind(AssertUnwindSafe(|| read(reader))) {
            Ok(Ok(())) => self.tracer.succeeded(),
            Ok(Err(_)) => return self.tracer.faulted(),
            Err(_) => {
                self.panics += 1;
                return self.tracer.panicked();
            }
        }
        match written {
            Ok(bytes) => self.samples.push(Sample { bytes, picks: std::mem::take(&mut self.tracer.picks) }),
            Err(error) => self.unwritten = Some(error.to_string()),
        }
    }

    fn finish(self, settled: bool) -> Traced {
        let Self { tracer, samples, unwritten, passes, panics } = self;
        let built = !samples.is_empty();
        let name = short(tracer.root_name);
        if !settled {
            let reason = if panics >= PANICS { "its Deserialize or Serialize panics" } else { "it asks for something else each time" };
            let problems = vec![format!("{name}: {reason}")];
            return Traced { nodes: vec![Node::Opaque(reason.to_owned())], root: 0, problems, passes, built };
        }
        let (nodes, root) = finish::nodes(&tracer.types, &tracer.root);
        let mut problems = tracer.problems;
        if panics > 0 {
            problems.add(format!("{name}: its Deserialize or Serialize panics on some values"));
        }
        if let Some(text) = unwritten {
            problems.add(format!("{name}: {text}"));
        }
        let samples = samples.into_iter().map(|sample| sample.numbered(&tracer.types)).collect::<Vec<_>>();
        check::samples(&nodes, root, &samples, &name, &mut problems);
        Traced { nodes, root, problems: problems.into_list(), passes, built }
    }
}
