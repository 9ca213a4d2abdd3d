//! The streams of the calls that one connection serves, by the ids of the calls: from a call's first frame to its last.
//!
//! Owned by `dispatch.rs`. What a stream is, and what may come of it when, is `connection/streams.rs`.

use std::sync::Arc;

use crate::connection::link::Link;
use crate::connection::streams::{Last, Role, Streams};
use crate::connection::waking::wake_all;
use crate::frame::codec::{self, kind};
use crate::frame::limits::FIRST_WINDOW;
use crate::service::Method;
use crate::{Error, ErrorKind, Executed};

#[derive(Default)]
pub(crate) struct ServedStreams {
    /// Of calls that stream and are not answered.
    by_id: Vec<Option<Arc<Streams>>>,
    count: u32,
}

impl ServedStreams {
    /// How many calls have some.
    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    /// All ids that have some are below it.
    pub(crate) fn ids(&self) -> u32 {
        self.by_id.len() as u32
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Arc<Streams>> {
        self.by_id.get(id as usize)?.as_ref()
    }

    pub(crate) fn begin(&mut self, id: u32, method: &Method) -> Arc<Streams> {
        let streams = Streams::new(Role::Callee, method.uploads, method.downloads.then_some(FIRST_WINDOW));
        let index = id as usize;
        if self.by_id.len() <= index {
            self.by_id.resize(index + 1, None);
        }
        self.by_id[index] = Some(streams.clone());
        self.count += 1;
        streams
    }

    /// Those of a call whose arguments are complete; `assembled`, from chunks. Its credit joins `out`, as a refusal does: behind that
    /// it would be the next call's with this id.
    #[cold]
    pub(crate) fn of(&mut self, id: u32, method: &Method, assembled: bool, out: &mut Vec<u8>) -> Arc<Streams> {
        let known = self.get(id).cloned();
        let streams = known.unwrap_or_else(|| {
            let streams = self.begin(id, method);
            if assembled {
                streams.hold();
            }
            streams
        });
        if streams.release() {
            // The caller held its items back, or they would have come before the end of the arguments.
            codec::Frame::new(out, kind::CALL_CREDIT).number(u64::from(id)).number(FIRST_WINDOW as u64).end(0);
        }
        streams
    }

    /// The call has been answered.
    #[inline]
    pub(crate) fn close(&mut self, id: u32, link: &Link) {
        if let Some(streams) = self.by_id.get_mut(id as usize).and_then(Option::take) {
            self.count -= 1;
            close(&streams, link);
        }
    }

    /// What the caller sends is cut off: never a normal end. What it was sent it does not take any more.
    pub(crate) fn cut(&self, id: u32, error: Error) {
        let Some(streams) = self.get(id) else { return };
        let mut wakers = Vec::new();
        let _ = streams.end(Last::Error(error), &mut wakers);
        streams.stop(&mut wakers);
        wake_all(wakers);
    }
}

#[cold]
fn close(streams: &Arc<Streams>, link: &Link) {
    let mut wakers = Vec::new();
    let _ = streams.end(Last::Error(Error::with(ErrorKind::Cancelled, Executed::Maybe, "the call has ended")), &mut wakers);
    streams.close(&mut link.lock_awake(), &mut wakers);
    wake_all(wakers);
}
