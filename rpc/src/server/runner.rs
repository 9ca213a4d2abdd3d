//! Handlers that were not ready at once, each in a task of its own. Tasks are reused: in steady state such a call costs
//! no allocation either.
//!
//! The runner alone ends its call: with the reply, or, when its ticket says stop, by dropping the handler and saying why.
//! So every call gets exactly one last frame.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::Core;
use super::handler::{Polled, Port, Request, drop_quietly};
use super::reply::{end_reply, log_notification, panicked};
use crate::connection::link::Link;
use crate::connection::outbound::{deadline_exceeded, write_error};
use crate::connection::streams::Streams;
use crate::context::Ticket;
use crate::frame::codec;
use crate::frame::payload::{self, Outcome};
use crate::schema::exchange::Writer;
use crate::service::{Handler, Method};
use crate::{Error, ErrorKind, Executed};

/// Where a handler goes back to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) service: u32,
    pub(crate) method: u32,
}

/// What a server hook says, once it has.
pub(crate) type Gate = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A call to be run to its end.
pub(crate) struct Job {
    /// None for a notification.
    pub(crate) id: Option<u32>,
    pub(crate) method: &'static Method,
    pub(crate) place: Place,
    pub(crate) handler: Handler,
    pub(crate) request: Opening,
    pub(crate) gate: Option<Gate>,
    pub(crate) streams: Option<Arc<Streams>>,
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) limit: usize,
    /// The longest that one poll took, if that is to be told.
    pub(crate) took: Option<Duration>,
}

/// How far a request has come.
pub(crate) enum Opening {
    /// The gate comes first: a stranger's bytes are not looked at before it opens.
    Sealed(Sealed),
    Ready(Request),
    /// The handler has it.
    Begun,
}

/// A request whose arguments have not been looked at.
pub(crate) struct Sealed {
    pub(crate) request: Request,
    pub(crate) json: bool,
    /// How the caller writes the arguments, if not as they would be written here.
    pub(crate) writer: Option<Arc<Writer>>,
}

impl Sealed {
    /// # Errors
    /// `Malformed` when it is no JSON.
    #[inline]
    pub(crate) fn open(mut self, method: &'static Method) -> Result<Request, Error> {
        if self.json {
            self.request.inner_mut().body.parse(method)?;
        } else if let Some(writer) = self.writer {
            self.request.inner_mut().body.adapt(writer);
        }
        Ok(self.request)
    }
}

/// A job that has ended, on its way back to the dispatcher.
pub(crate) struct Finished {
    pub(crate) id: Option<u32>,
    pub(crate) place: Place,
    /// None after a panic or a cancel.
    pub(crate) handler: Option<Handler>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) ticket: Arc<Ticket>,
    /// See [`Job::took`].
    pub(crate) took: Option<Duration>,
}

#[derive(Default)]
struct Mail {
    job: Option<Job>,
    closed: bool,
    waker: Option<Waker>,
}

/// The mailbox of one runner.
#[derive(Default)]
pub(crate) struct Runner(Mutex<Mail>);

impl Runner {
    /// A new task that begins with this job.
    pub(crate) fn start(job: Job, link: Arc<Link>, core: Arc<Core>) {
        let runner = Arc::new(Self(Mutex::new(Mail { job: Some(job), closed: false, waker: None })));
        let mut task = Task { runner, link, core, job: None };
        tokio::spawn(async move { poll_fn(|cx| task.poll(cx)).await });
    }

    /// The next job of an idle runner.
    pub(crate) fn give(&self, job: Job) {
        let mut mail = self.mail();
        mail.job = Some(job);
        let waker = mail.waker.take();
        drop(mail);
        waker.inspect(Waker::wake_by_ref);
    }

    /// An idle runner is not needed any more.
    pub(crate) fn close(&self) {
        let mut mail = self.mail();
        mail.closed = true;
        let waker = mail.waker.take();
        drop(mail);
        waker.inspect(Waker::wake_by_ref);
    }

    fn mail(&self) -> std::sync::MutexGuard<'_, Mail> {
        self.0.lock().expect("no user code runs under this lock")
    }
}

struct Task {
    runner: Arc<Runner>,
    link: Arc<Link>,
    core: Arc<Core>,
    job: Option<Job>,
}

impl Drop for Task {
    /// A runtime that shuts down drops tasks with their jobs.
    fn drop(&mut self) {
        let mailed = self.runner.mail().job.take();
        for job in [self.job.take(), mailed].into_iter().flatten() {
            drop_quietly(job);
            self.core.handler_ended();
        }
    }
}

impl Task {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            if self.job.is_none() {
                let mut mail = self.runner.mail();
                match mail.job.take() {
                    Some(job) => self.job = Some(job),
                    None if mail.closed => return Poll::Ready(()),
                    None => {
                        mail.waker = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                }
            }
            let Some(job) = &mut self.job else { continue };
            let mut out = payload::buffer();
            let Poll::Ready(ended) = run(job, &mut out, cx) else {
                payload::recycle(out);
                return Poll::Pending;
            };
            let keeps = self.end(ended, &mut out);
            payload::recycle(out);
            if !keeps {
                return Poll::Ready(());
            }
        }
    }

    /// Sends the last frame of the call, and the handler back. False when the connection is gone.
    fn end(&mut self, ended: Ended, out: &mut Vec<u8>) -> bool {
        let Some(Job { id, method, place, handler, ticket, request, gate, streams, took, .. }) = self.job.take() else { return true };
        drop_quietly((request, gate));
        let (outcome, handler) = match ended {
            Ended::Handler(outcome, start) => (Ok((outcome, start)), Some(handler)),
            Ended::Refused(error) => (Err(error), Some(handler)),
            Ended::Stopped(error) => {
                drop_quietly(handler);
                (Err(error), None)
            }
        };
        // What was never polled has shown nothing.
        let took = took.filter(|took| !took.is_zero());
        let finished = Finished { id, place, handler, runner: self.runner.clone(), ticket, took };
        let failed = matches!(&outcome, Ok((outcome, _)) if outcome.is_failed());
        let large = match (id, outcome) {
            (Some(id), Ok((outcome, start))) => end_reply(out, 0, start, id, outcome, method),
            (Some(id), Err(error)) => {
                out.clear();
                write_error(out, id, &error);
                None
            }
            (None, outcome) => {
                out.clear();
                match outcome {
                    Ok((outcome, _)) => log_notification(&outcome, method),
                    Err(error) => tracing::debug!(method = method.name, %error, "a notification was stopped"),
                }
                None
            }
        };
        let keeps = self.link.finish(finished, streams.as_ref(), |outbound| match (large, id) {
            (Some(reply), Some(id)) => outbound.large_reply(id, failed, reply),
            _ => outbound.frames(|frames| frames.extend_from_slice(out)),
        });
        self.core.handler_ended();
        keeps
    }
}

enum Ended {
    /// The handler is done; the payload begins here in the buffer.
    Handler(Outcome, usize),
    /// It never began.
    Refused(Error),
    /// It was stopped, or panicked.
    Stopped(Error),
}

fn run(job: &mut Job, out: &mut Vec<u8>, cx: &mut TaskContext<'_>) -> Poll<Ended> {
    let stopped = job.ticket.poll_stopped(cx.waker()).is_ready();
    // A handler that has not begun is not begun for nobody, detached or not.
    let begun = matches!(job.request, Opening::Begun);
    if stopped && !(job.method.detached && begun) {
        let executed = if begun { Executed::Maybe } else { Executed::No };
        return Poll::Ready(Ended::Stopped(stop_error(job.ticket.state(), executed, job.method)));
    }
    if let Some(gate) = &mut job.gate {
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| gate.as_mut().poll(cx)));
        match said {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(()))) => drop_quietly(job.gate.take()),
            Ok(Poll::Ready(Err(error))) => return Poll::Ready(Ended::Refused(error.not_executed())),
            Err(panic) => {
                drop_quietly(panic);
                let error = Error::new(ErrorKind::Internal, format!("{}: the server's hook panicked", job.method.name));
                return Poll::Ready(Ended::Refused(error));
            }
        }
    }
    let request = match std::mem::replace(&mut job.request, Opening::Begun) {
        Opening::Begun => None,
        Opening::Ready(request) => Some(request),
        Opening::Sealed(sealed) => match sealed.open(job.method) {
            Ok(request) => Some(request),
            Err(error) => return Poll::Ready(Ended::Refused(error)),
        },
    };
    codec::open_reply(out, job.id.unwrap_or(0));
    let start = out.len();
    // What runs on without its caller is not bound by its caller's deadline.
    let deadline = job.deadline.filter(|_| !job.method.detached);
    let began = job.took.map(|_| Instant::now());
    let polled = Port::new().poll(&mut job.handler, request, out, job.limit, deadline, cx);
    job.took = began.map(|began| began.elapsed()).max(job.took);
    match polled {
        Polled::Ready(outcome) => Poll::Ready(Ended::Handler(outcome, start)),
        Polled::Pending => Poll::Pending,
        Polled::Panicked(panic) => Poll::Ready(Ended::Stopped(panicked(job.method, &panic))),
    }
}

fn stop_error(reason: u8, executed: Executed, method: &Method) -> Error {
    match reason {
        Ticket::EXPIRED => deadline_exceeded(executed),
        _ => Error::with(ErrorKind::Cancelled, executed, format!("{}: cancelled", method.name)),
    }
}
