//! The body of a response: JSON at once, or lines of it as they come (newline-delimited JSON).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::answer;
use super::wire::Progress;
use crate::Streaming;
use crate::streaming::Text;

/// Lines that are there are sent together, up to about so many bytes.
const TOGETHER: usize = 16 << 10;

/// A body. hyper drops it once it has all of it, or when the client is gone: that cancels the call whose items these are.
pub(super) struct Reply {
    content: Content,
    progress: Arc<Progress>,
}

enum Content {
    Whole(Option<Bytes>),
    Lines(Streaming<Text>),
    Ended,
}

impl Reply {
    pub(super) fn empty(progress: Arc<Progress>) -> Self {
        Self { content: Content::Ended, progress }
    }

    pub(super) fn whole(json: Vec<u8>, progress: Arc<Progress>) -> Self {
        Self { content: Content::Whole(Some(json.into())), progress }
    }

    pub(super) fn lines(items: Streaming<Text>, progress: Arc<Progress>) -> Self {
        Self { content: Content::Lines(items), progress }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let items = match &mut self.content {
            Content::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Ended => return Poll::Ready(None),
            Content::Lines(items) => items,
        };
        let mut lines = Vec::new();
        while lines.len() < TOGETHER {
            match items.poll_text(&mut lines, cx) {
                Poll::Ready(Some(Ok(()))) => {}
                Poll::Ready(Some(Err(error))) => lines.extend(answer::body(&error)),
                Poll::Ready(None) => {
                    self.content = Content::Ended;
                    break;
                }
                Poll::Pending if lines.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
            lines.push(b'\n');
        }
        Poll::Ready((!lines.is_empty()).then(|| Ok(Frame::data(lines.into()))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Ended | Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Lines(_) => SizeHint::default(),
            Content::Ended => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.progress.answered();
    }
}
