//! One connection of HTTP/1: from hyper to a call by name, and back.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, sleep_until, timeout};

use super::Door;
use super::answer::{Answer, Content};
use super::lines::{Broken, Lines};
use super::reply::Reply;
use super::request::{self, Asked};
use super::wire::{Progress, Turn, Wire};
use crate::client::call::Json;
use crate::connection::binds::{refusal, status};
use crate::connection::outbound::deadline_exceeded;
use crate::context::Metadata;
use crate::frame::codec;
use crate::frame::limits::{DEFAULT_TIMEOUT, MAX_FRAME, MAX_METADATA, NUMBERS};
use crate::server::Core;
use crate::server::accept::unless;
use crate::server::hook::{self, CallInfo};
use crate::streaming::Upload;
use crate::transport::Transport;
use crate::{Client, Error, ErrorKind, Executed, Limits, Peer};

/// The most that the head of a request may take. Metadata may have 32 KiB of it.
const HEAD: usize = 64 << 10;

/// What a connection without a request gets to take its end.
const COURTESY: Duration = Duration::from_millis(100);

/// How long a browser may remember which requests it may send.
const PREFLIGHT_SECONDS: &str = "600";

/// Serves a connection until it ends.
pub(crate) async fn serve(core: Arc<Core>, transport: Transport) {
    run(core, transport, true).await;
}

/// One connection too many: its first request is told so.
pub(crate) async fn refuse(core: Arc<Core>, transport: Transport, left: Duration) {
    // As long as the peer may take to say hello.
    let _ = timeout(left, run(core, transport, false)).await;
}

async fn run(core: Arc<Core>, transport: Transport, is_welcome: bool) {
    let limits = &core.limits;
    let Transport { read, write, peer } = transport;
    let address = peer.address.clone();
    let progress = Arc::new(Progress::default());
    let wire = TokioIo::new(Wire::new(read, write, progress.clone(), limits.write_timeout));
    let visit = Arc::new(Visit { core: core.clone(), peer: Arc::new(peer), client: OnceLock::new(), progress: progress.clone(), is_welcome });
    let service = service_fn(move |request| {
        let visit = visit.clone();
        let turn = visit.progress.asked();
        async move { Ok::<_, Infallible>(visit.respond(request, turn).await) }
    });
    // hyper adds it to the time as it is.
    let patience = Some(limits.handshake_timeout).filter(|patience| Instant::now().checked_add(*patience).is_some());
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(HEAD).keep_alive(is_welcome);
    let mut connection = pin!(builder.serve_connection(wire, service));
    let mut draining = pin!(is_draining(&core));
    let ended = match unless(draining.as_mut(), connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            if progress.is_quiet() {
                // At most the beginning of a request's head, and nobody can say how long the rest of it will take.
                timeout(COURTESY, connection).await.unwrap_or(Ok(()))
            } else {
                connection.await
            }
        }
    };
    match ended {
        Ok(()) => tracing::debug!(peer = address, "HTTP connection ended"),
        Err(error) => tracing::debug!(peer = address, %error, "HTTP connection ended"),
    }
}

/// Ready when the server drains.
async fn is_draining(core: &Core) {
    let Some(Door { draining, .. }) = &core.http else { return };
    // The server holds the sender.
    drop(draining.subscribe().wait_for(|draining| *draining).await);
}

/// What the requests of a connection share.
struct Visit {
    core: Arc<Core>,
    peer: Arc<Peer>,
    /// Calls go by it; none before the first.
    client: OnceLock<Client>,
    progress: Arc<Progress>,
    is_welcome: bool,
}

impl Visit {
    async fn respond(&self, request: Request<Incoming>, turn: Turn) -> Response<Reply> {
        let (head, body) = request.into_parts();
        let mut body = Some(body);
        let door = self.core.http.as_ref().expect("the door is open, or nobody would have come in");
        let admitted = request::admit(&head, &door.http);
        let origin = admitted.as_ref().ok().copied().flatten().cloned();
        let mut response = match admitted {
            Ok(Some(_)) if is_preflight(&head) => self.preflight(&head),
            Ok(_) => self.response(self.answer(&head, &mut body, &turn).await.unwrap_or_else(|refused| refused)),
            Err(refused) => self.response(refused),
        };
        if let Some(origin) = origin {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
        // A body of lines is with its call.
        if body.is_some_and(|body| !body.is_end_stream()) {
            turn.is_half_read(true);
        }
        response
    }

    /// The answer to a request that may come in; as an error, where it is no call.
    async fn answer(&self, head: &Parts, body: &mut Option<Incoming>, turn: &Turn) -> Result<Answer, Answer> {
        if !self.is_welcome {
            let text = "the server has too many connections (Limits::max_connections)";
            return Err(Answer::error(&Error::overloaded(text, Duration::from_secs(1))).closing());
        }
        let Asked { method, lines, timeout, metadata } = request::read(head)?;
        // Here and not by a call: a name that is called is bound, and binds are kept.
        let known = self.core.registry.method(&method).map(|(service, number)| &service.contract().methods[usize::from(number)]);
        let known = match known {
            None => Err(Answer::error(&refusal(status::UNKNOWN_METHOD, &method, &method))),
            Some(known) if known.uploads != lines => Err(other_body(&method, known.uploads)),
            Some(known) => Ok(known),
        };
        let known = if self.core.hook.is_none() { Ok(known?) } else { known };
        let (mut arguments, upload) = match body.take() {
            Some(incoming) if lines => {
                let (arguments, items) = self.first_line(incoming, turn.clone()).await?;
                (arguments, Some(items))
            }
            Some(incoming) => (self.read(body.insert(incoming)).await?, None),
            None => (Vec::new(), None),
        };
        let began = Instant::now();
        // A stranger is not to find out which methods there are: up to here all is the same, whether there is one or not. So it is
        // asked here and not by the call, which would be refused before that where the server is full.
        self.ask_hook(&method, timeout, &metadata).await?;
        let known = known?;
        if arguments.is_empty() {
            arguments.extend_from_slice(b"[]");
        }
        let mut call = self.client().call_raw_json(&method, &arguments, upload.map(Upload::texts), known.downloads);
        // A stream lasts as long as it lasts.
        if let Some(timeout) = timeout.or(known.timeout).or((!known.streams()).then_some(DEFAULT_TIMEOUT)) {
            call = call.timeout(timeout.saturating_sub(began.elapsed()));
        }
        for (key, value) in metadata {
            call = call.metadata(key, value);
        }
        drop(arguments);
        Ok(match call.await {
            Json::Value(json) => Answer::value(json),
            Json::Items(items) => Answer::items(items),
            Json::Failed(json) => Answer::failed(&json),
            Json::Error(error) => Answer::error(&error),
        })
    }

    /// What the hook says of a request that may become a call.
    async fn ask_hook(&self, method: &str, patience: Option<Duration>, metadata: &[(String, String)]) -> Result<(), Answer> {
        let Some(hook) = &self.core.hook else { return Ok(()) };
        // Of the kinds that can be sent, as of any call.
        let told = |error: Error| {
            let kind = codec::error_kind(codec::code(error.kind()));
            Answer::error(&Error::new(kind, error.message().to_owned()).after(error.retry_after()).of_method(method))
        };
        let (size, limit) = (codec::metadata_size(metadata), self.core.limits.max_metadata.min(MAX_METADATA));
        if size > limit {
            let text = format!("metadata of {size} bytes exceeds the limit of {limit} (Limits::max_metadata)");
            return Err(told(Error::new(ErrorKind::TooLarge, text)));
        }
        // Not the method's own timeout, which would tell that there is one.
        let patience = patience.unwrap_or(DEFAULT_TIMEOUT);
        let info = CallInfo {
            method: method.to_owned(),
            metadata: Arc::new(Metadata(codec::metadata(metadata).into())),
            peer: self.peer.clone(),
            deadline: Instant::now().checked_add(patience),
        };
        match tokio::time::timeout(patience, hook::decide(hook.clone(), info)).await {
            Ok(said) => said.map_err(told),
            Err(_) => Err(told(deadline_exceeded(Executed::No))),
        }
    }

    /// The arguments of a call that takes a stream, and its items.
    async fn first_line(&self, body: Incoming, turn: Turn) -> Result<(Vec<u8>, Lines), Answer> {
        let limits = &self.core.limits;
        let mut lines = Lines::new(body, limits.allowance().max_message, limits.progress_timeout, turn);
        let mut draining = pin!(is_draining(&self.core));
        let first = poll_fn(|cx| {
            if draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(is_leaving()));
            }
            let line = lines.poll_line(cx).map(|line| line.transpose().map_err(Broken::answer));
            line.map(|line| line.map(|line| line.unwrap_or_default().to_vec()))
        });
        let first = first.await?;
        Ok((first, lines))
    }

    /// The whole body, if it is not too long and does not take for ever.
    async fn read(&self, body: &mut Incoming) -> Result<Vec<u8>, Answer> {
        let limits = &self.core.limits;
        let most = limits.allowance().max_message;
        let too_large = || {
            let text = format!("arguments of more than {most} bytes (Limits::max_message)");
            Answer::refused(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge, &text).closing()
        };
        let declared = body.size_hint().lower();
        if declared > most as u64 {
            return Err(too_large());
        }
        let mut read = Vec::with_capacity((declared as usize).min(MAX_FRAME));
        let mut draining = pin!(is_draining(&self.core));
        loop {
            // As a frame: so many bytes, or the end, within the time.
            let goal = read.len() + MAX_FRAME;
            let until = Instant::now().checked_add(limits.progress_timeout);
            let mut late = pin!(async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            });
            while read.len() < goal {
                let frame = poll_fn(|cx| {
                    if draining.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(is_leaving()));
                    }
                    if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                        return Poll::Ready(Ok(frame));
                    }
                    late.as_mut().poll(cx).map(|()| {
                        let text = "the body did not arrive in time (Limits::progress_timeout)";
                        Err(Answer::refused(StatusCode::REQUEST_TIMEOUT, ErrorKind::DeadlineExceeded, text).closing())
                    })
                });
                match frame.await? {
                    None => return Ok(read),
                    Some(Ok(frame)) => {
                        let Ok(data) = frame.into_data() else { continue };
                        if read.len() + data.len() > most {
                            return Err(too_large());
                        }
                        read.extend_from_slice(&data);
                    }
                    Some(Err(_)) => {
                        let text = "the body was cut off, or its chunks are malformed";
                        return Err(Answer::refused(StatusCode::BAD_REQUEST, ErrorKind::Malformed, text).closing());
                    }
                }
            }
        }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            let limits = Limits {
                // Both ends are here.
                keepalive_interval: Duration::MAX,
                max_binds: self.core.limits.max_binds.max(NUMBERS),
                ..*self.core.limits
            };
            Client::options().limits(limits).on_behalf_of((*self.peer).clone(), Arc::new(self.core.behind_the_hook()))
        })
    }

    fn response(&self, answer: Answer) -> Response<Reply> {
        let Answer { status, content, retry_after, closes } = answer;
        let progress = self.progress.clone();
        let (body, kind) = match content {
            Content::Json(json) => (Reply::whole(json, progress), "application/json"),
            Content::Items(items) => (Reply::lines(items, progress), "application/x-ndjson"),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(after) = retry_after {
            headers.insert(header::RETRY_AFTER, after.as_millis().div_ceil(1000).min(u64::MAX.into()).to_string().parse().expect("digits"));
        }
        if closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        match status {
            StatusCode::METHOD_NOT_ALLOWED => drop(headers.insert(header::ALLOW, HeaderValue::from_static("POST"))),
            // RFC 9110, 15.5.2 wants some; what a hook takes as proof is between it and its callers.
            StatusCode::UNAUTHORIZED => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            _ => {}
        }
        response
    }

    /// What a page of a listed origin may send.
    fn preflight(&self, head: &Parts) -> Response<Reply> {
        let mut response = Response::new(Reply::empty(self.progress.clone()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let asked = head.headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|names| names.to_str().ok());
        let ours = |name: &&str| {
            let name = name.to_ascii_lowercase();
            name == "content-type" || name == "authorization" || name == request::TIMEOUT || name.starts_with(request::METADATA)
        };
        let granted: Vec<&str> = asked.flat_map(|names| names.split(',')).map(str::trim).filter(ours).collect();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
        if let Ok(granted) = HeaderValue::from_str(&granted.join(", ")) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, granted);
        }
        response
    }
}

fn is_leaving() -> Answer {
    Answer::error(&Error::new(ErrorKind::Draining, "the server is shutting down")).closing()
}

/// To arguments without a stream for a method that takes one, and the other way round.
fn other_body(method: &str, uploads: bool) -> Answer {
    let text = match uploads {
        true => "the method takes a stream: the body is lines of JSON, declared as application/x-ndjson, the arguments before the items",
        false => "the method takes no stream: the body is JSON, declared as application/json",
    };
    request::unsupported(&format!("{method}: {text}"))
}

/// A browser asks what it may send.
fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}
