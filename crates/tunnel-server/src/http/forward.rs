//! One request to the upstream, and its answer back.
//!
//! A request that failed is sent again only if that can't do anything twice: when it was never sent or never
//! reached the upstream, or when its method promises as much (RFC 9110 §9.2.2) and no body went with it. Where several
//! clients serve, one that doesn't reach its upstream costs no request, so the begin of a body is kept until it does.

use std::{borrow::Cow, io, mem, net::IpAddr, sync::Arc, time::Duration};

use ::http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version as HttpVersion, header::CONTENT_LENGTH,
};
use tokio::time::{Instant, timeout};
use tunnel_protocol::{Code, RequestId};

use super::{
    Desk, admit,
    answer::{Answer, Exchange},
    body::Inbound,
    devserver,
    facts::Facts,
    headers::{self, Asker},
    http1::upstream as http1,
    http2::{
        Early,
        upstream::{AskError, Unanswered},
    },
    link::{Link, Question},
    respond::Failure,
    upgrade::{self, Carried, Challenge},
    upload::{Receipt, Upload},
};
use crate::{
    dispatch::{DispatchError, Search},
    endpoint::{Admission, Endpoint, Target},
    metrics::Metrics,
    policy::{Policies, Public},
    records::Drafted,
};

/// How much of a body is kept until the first client's upstream is known to be there, in bytes.
const KEPT: usize = 64 * 1024;

/// How long a client that lost a lane may take to show that it lives, before a request is sent to it once more.
const LIFE_PATIENCE: Duration = Duration::from_secs(3);

/// How often a request is checked anew because other policies came while it waited.
const CHANGES: u32 = 3;

/// A request as the upstream is to get it, its body apart.
#[derive(Debug)]
struct Outgoing {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    expects_continue: bool,
    /// Hears what the upstream says before its answer. HTTP/1 visitors can't be told.
    early: Option<Early>,
    /// It opens a WebSocket, by the means of HTTP/1.1.
    is_websocket: bool,
    /// Sending it twice does what sending it once does.
    is_repeatable: bool,
}

/// One request's way through an endpoint.
#[derive(Debug, Default)]
pub(super) struct Passage {
    /// The policies it was let in by; it is sent to nobody who has others.
    pub(super) checked: Option<Arc<Policies>>,
    /// What the upstream's own name in the answer is translated to.
    public: Option<Public>,
    /// What its owner should know about it.
    pub(super) hint: Option<String>,
    /// Who served it, once somebody did.
    pub(super) served: Option<Arc<Target>>,
    /// The record of it.
    pub(super) draft: Drafted,
}

/// Why there is no answer.
#[derive(Debug)]
enum Fault {
    /// The visitor broke its request off.
    Visitor(Code),
    /// The upstream's answer can't be read.
    Malformed(String),
    Dispatch(DispatchError),
}

/// How one attempt failed.
struct Failed {
    fault: Fault,
    /// Nobody had begun to send the request.
    is_unsent: bool,
    /// On a stream that had served before.
    is_reused: bool,
    receipt: Receipt,
    /// How many bytes of the visitor's were written to the stream.
    sent: u64,
    /// Who served the visitor.
    target: Option<Arc<Target>>,
}

/// How one attempt is to be made.
#[derive(Debug)]
struct Attempt {
    id: RequestId,
    /// Whose place it is, should it have to wait.
    visitor: IpAddr,
    may_reuse: bool,
    /// Who just failed, or let go of, the visitor.
    avoid: Option<Arc<Target>>,
    /// How much of the request the attempts before have counted.
    counted: u64,
}

/// Forwards a request and returns the upstream's answer, as soon as its head is there.
///
/// # Errors
/// [`Failure`], for the page the visitor gets instead.
///
/// # Cancel safety
/// Dropping it resets the stream to the upstream.
pub(super) async fn forward(
    desk: &Desk,
    endpoint: &Arc<Endpoint>,
    facts: &Facts,
    id: RequestId,
    request: &mut Request<Inbound>,
    permit: Admission,
    passage: &mut Passage,
) -> Result<Response<Answer>, Failure> {
    let (head, body) = mem::replace(request, Request::new(Inbound::Empty)).into_parts();
    let visitor = desk.visitor_of(&head.headers);
    // A CONNECT on HTTP/2 has no key to be answered: the upstream is given one of ours.
    let challenge = (head.version == HttpVersion::HTTP_2 && facts.upgrade.is_some()).then(Challenge::new);
    let mut outgoing = Outgoing {
        method: head.method,
        uri: origin_form(&head.uri),
        headers: head.headers,
        expects_continue: facts.expects_continue,
        is_websocket: facts.upgrade.as_deref().is_some_and(upgrade::is_websocket),
        early: head.extensions.get().cloned(),
        is_repeatable: facts.method.is_idempotent() && !facts.has_body(),
    };
    let asker = Asker {
        visitor: &desk.address,
        https_port: desk.door.secure.as_ref().map(|secure| secure.port),
        is_trusted: desk.is_trusted,
        request: id,
    };
    headers::to_upstream(&mut outgoing.headers, facts, asker);
    challenge.iter().for_each(|challenge| challenge.put(&mut outgoing.headers));
    let trace = passage.draft.as_ref().and_then(|draft| draft.trace());
    trace.iter().for_each(|trace| trace.put(&mut outgoing.headers));
    let mut body = facts.has_body().then_some(body);
    let mut how = Attempt { id, visitor, may_reuse: true, avoid: None, counted: 0 };
    let (mut may_repeat, mut changes, mut refusals) = (true, 0, 0);
    let (mut response, exchange) = loop {
        let failed = match attempt(desk, endpoint, &outgoing, &mut body, &how, passage).await {
            Ok(answered) => break answered,
            Err(failed) => failed,
        };
        let Failed { fault, is_unsent, is_reused, receipt, sent, target } = failed;
        how.counted = how.counted.max(sent);
        if matches!(fault, Fault::Dispatch(DispatchError::PoliciesChanged)) && changes < CHANGES {
            changes += 1;
            let policies = endpoint.known_policies();
            admit::check(&policies, visitor, &outgoing.headers)?;
            passage.checked = Some(policies);
            continue;
        }
        let is_late =
            matches!(fault, Fault::Dispatch(DispatchError::Refused(Code::Draining | Code::NoSuchTunnel)));
        // A stream that fails at once after it was idle had been closed already.
        let was_stale = is_reused && matches!(fault, Fault::Dispatch(DispatchError::Broken(_)));
        let may_go_elsewhere = matches!(&fault, Fault::Dispatch(error) if error.may_go_elsewhere());
        let is_elsewhere =
            may_go_elsewhere && target.as_ref().is_some_and(|target| endpoint.has_other(target, refusals));
        let never_arrived = is_unsent || is_late || is_elsewhere;
        let is_lost = matches!(fault, Fault::Dispatch(DispatchError::LaneLost));
        if facts.has_body() && body.is_none() && never_arrived {
            body = receipt.unsent().await;
        }
        let is_complete = body.is_some() || !facts.has_body();
        let is_harmless =
            is_complete && (never_arrived || (outgoing.is_repeatable && (is_lost || was_stale)));
        if is_harmless && is_reused && !is_late && !is_lost {
            how.may_reuse = false;
            continue;
        }
        if !is_harmless || !(may_repeat || is_elsewhere) {
            let is_new = !is_reused && !endpoint.tally.has_served();
            passage.hint = passage.upstream().and_then(|upstream| fault.hint(&upstream, is_new));
            return Err(Failure::from(fault).through(passage.upstream()));
        }
        if is_elsewhere {
            refusals += 1;
        } else {
            may_repeat = false;
        }
        how = Attempt { may_reuse: false, avoid: target, ..how };
        Metrics::count(&desk.shared.metrics.retries);
        if let Some(target) = &how.avoid {
            if is_late {
                endpoint.wait_until_not(target).await;
            } else if is_lost && endpoint.is_left_to_session_of(target) {
                // The lanes of a client that dies are lost one after the other, and the next would be no better.
                let _ = timeout(LIFE_PATIENCE, target.session.shows_life()).await;
            }
        }
    };

    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let asked = facts.upgrade.as_deref().filter(|_| exchange.receipt().is_whole());
        let switched = asked.and_then(|asked| {
            let carried = Carried { endpoint, draft: passage.draft.clone(), permit };
            upgrade::switch(desk, asked, challenge, &mut response, exchange, carried)
        });
        let switched = switched.map(|mut switched| {
            passage.to_visitor(switched.headers_mut());
            switched
        });
        return switched.ok_or_else(|| {
            Failure::new(Code::UpstreamMalformed)
                .because("it changed the protocol unasked")
                .through(passage.upstream())
        });
    }
    if challenge.is_some() && response.status().is_success() {
        // To the visitor that would be a yes (RFC 8441 §5).
        return Err(Failure::new(Code::UpstreamMalformed)
            .because("it answered a WebSocket's opening with something else")
            .through(passage.upstream()));
    }
    if passage.checked.as_ref().is_none_or(|policies| policies.host.is_none()) {
        response = passage.look_at(response, &outgoing.uri, facts).await?;
    }
    let accepted = accept(response, exchange, permit);
    let mut accepted = accepted.map_err(|failure| failure.through(passage.upstream()))?;
    passage.to_visitor(accepted.headers_mut());
    Ok(accepted)
}

impl Passage {
    pub(super) fn new(draft: Drafted) -> Self {
        Self { draft, ..Self::default() }
    }

    fn upstream(&self) -> Option<Arc<str>> {
        self.served.as_ref().map(|target| target.upstream.clone())
    }

    /// The answer, unless it is one that only means that the upstream doesn't know the public host.
    async fn look_at(
        &mut self,
        response: Response<Inbound>,
        uri: &Uri,
        facts: &Facts,
    ) -> Result<Response<Inbound>, Failure> {
        let status = response.status();
        match devserver::recognise(response, uri).await {
            Ok(Err(response)) => Ok(response),
            Ok(Ok(server)) => {
                self.hint = Some(server.hint(facts.host.as_str()));
                let failure = Failure::new(Code::UpstreamHostRefused).because(server.words());
                // Some say it with a status of success.
                let failure = if status.is_success() { failure } else { failure.with_status(status) };
                Err(failure.through(self.upstream()))
            }
            Err(error) => {
                Err(Failure::new(Code::UpstreamBroken).because(error.to_string()).through(self.upstream()))
            }
        }
    }

    fn prepare(&mut self, headers: &mut Cow<'_, HeaderMap>) {
        let policies = self.checked.as_ref().filter(|policies| policies.change_requests());
        self.public = policies.and_then(|policies| admit::to_upstream(policies, headers.to_mut()));
    }

    fn to_visitor(&self, headers: &mut HeaderMap) {
        if let Some(policies) = &self.checked {
            admit::to_visitor(policies, self.public.as_ref(), headers);
        }
    }
}

/// Sends the request once and waits for the head of the answer.
async fn attempt(
    desk: &Desk,
    endpoint: &Arc<Endpoint>,
    outgoing: &Outgoing,
    body: &mut Option<Inbound>,
    how: &Attempt,
    passage: &mut Passage,
) -> Result<(Response<Inbound>, Exchange), Failed> {
    let search = Search::new(endpoint, how.visitor, passage.checked.as_ref(), how.avoid.clone());
    let reuse = how.may_reuse.then_some(outgoing.is_repeatable);
    let link = Link::get(&desk.shared, search, desk.visit(how.id), reuse, how.counted);
    let link = link.await.map_err(|error| Failed {
        // Nobody was there to take it: waiting was the endpoint's business, and is over.
        fault: match error {
            DispatchError::LaneLost => Fault::Dispatch(DispatchError::Absent(crate::endpoint::Absent::Away)),
            error => Fault::Dispatch(error),
        },
        is_unsent: false,
        is_reused: false,
        receipt: Receipt::default(),
        sent: 0,
        target: None,
    })?;
    let (is_reused, target) = (link.is_reused, link.serving.target().clone());
    passage.served = Some(target.clone());
    passage.draft.iter().for_each(|draft| draft.set_queued());
    if outgoing.is_websocket && !link.can_upgrade() {
        link.put_back();
        let fault = Fault::Malformed("it speaks HTTP/2, in which the server opens no WebSockets".into());
        let receipt = Receipt::default();
        let target = Some(target);
        return Err(Failed { fault, is_unsent: false, is_reused: false, receipt, sent: 0, target });
    }
    // What an idle stream carried before was others'.
    let (sent, before) = (link.sent.clone(), if is_reused { link.sent.bytes() } else { 0 });
    passage.draft.iter().for_each(|draft| draft.begin_in());
    let kept = if !is_reused && endpoint.is_shared() { KEPT } else { 0 };
    let (upload, receipt) = Upload::new(body.take(), outgoing.expects_continue, kept, passage.draft.clone());
    let early = outgoing.early(&receipt);
    let mut headers = Cow::Borrowed(&outgoing.headers);
    passage.prepare(&mut headers);
    let request = Question { method: &outgoing.method, uri: &outgoing.uri, headers, upload };
    let mut exchange = Exchange::new(link, receipt);
    let link = exchange.link().expect("invariant: the exchange has just begun");
    match link.ask(request, early).await {
        Ok(response) => {
            exchange.set_answered();
            passage.draft.iter().for_each(|draft| draft.set_first_byte(Instant::now()));
            Ok((response, exchange))
        }
        Err(Unanswered { error, is_unsent }) => {
            let is_said = error.is_said();
            let fault = Fault::new(error, exchange.receipt());
            if is_reused && !is_said && matches!(fault, Fault::Dispatch(DispatchError::Broken(_))) {
                target.pool.set_hasty();
            }
            let (sent, target) = (sent.bytes() - before, Some(target));
            Err(Failed { fault, is_unsent, is_reused, receipt: exchange.give_up(), sent, target })
        }
    }
}

/// Makes the visitor's answer of the upstream's.
fn accept(
    response: Response<Inbound>,
    mut exchange: Exchange,
    permit: Admission,
) -> Result<Response<Answer>, Failure> {
    let (mut head, body) = response.into_parts();
    if let Err(error) = headers::to_visitor(&mut head.headers) {
        return Err(Failure::new(Code::UpstreamMalformed).because(error.to_string()));
    }
    if head.status == StatusCode::NO_CONTENT {
        // It has none (RFC 9110 §8.6), and over HTTP/2 visitors reset an answer that claims one.
        head.headers.remove(CONTENT_LENGTH);
    }
    if head.version >= HttpVersion::HTTP_11 {
        exchange.allow_reuse();
    }
    head.version = HttpVersion::HTTP_11;
    Ok(Response::from_parts(head, Answer::upstream(body, exchange, permit)))
}

impl Outgoing {
    /// What becomes of what the upstream says before its answer, if anybody waits for that.
    fn early(&self, receipt: &Receipt) -> Option<impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static> {
        if !self.expects_continue && self.early.is_none() {
            return None;
        }
        let (on_continue, early) = (receipt.on_continue(), self.early.clone());
        Some(move |status, headers: &HeaderMap| match (status, &early) {
            (StatusCode::CONTINUE, _) => on_continue(),
            (StatusCode::EARLY_HINTS, Some(early)) => {
                let mut headers = headers.clone();
                if headers::to_visitor(&mut headers).is_ok() {
                    early.say(status, headers);
                }
            }
            _ => {}
        })
    }
}

/// The target without scheme and authority: upstreams are asked as origins (RFC 9112 §3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from)
}

impl Fault {
    fn new(error: AskError, receipt: &Receipt) -> Self {
        if let Some(code) = receipt.failure() {
            return Self::Visitor(code);
        }
        let broken = |error| Self::Dispatch(DispatchError::Broken(error));
        match error {
            AskError::Http1(http1::AskError::Head(error)) => Self::Malformed(error.to_string()),
            AskError::Http1(http1::AskError::Io(error)) => Self::Dispatch(DispatchError::from(&error)),
            AskError::Http1(error @ http1::AskError::Request) => broken(io::Error::other(error)),
            AskError::Http2(error) if error.is_library() => Self::Malformed(error.to_string()),
            AskError::Http2(error) => broken(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
            error @ (AskError::NotHttp2 | AskError::Interim | AskError::Flood(_)) => {
                Self::Malformed(error.to_string())
            }
            AskError::Dispatch(error) => Self::Dispatch(error),
        }
    }
}

impl Fault {
    /// For the owner of an upstream that is taken for a plain one, and probably speaks TLS: it said no HTTP from its
    /// first byte on, or hung up on the first visitors it got (`is_new`).
    fn hint(&self, upstream: &str, is_new: bool) -> Option<String> {
        let why = match self {
            Self::Malformed(error) if error.contains("invalid HTTP version") => "doesn't answer in HTTP",
            Self::Dispatch(DispatchError::Broken(_)) if is_new => "hangs up instead of answering",
            _ => return None,
        };
        let is_other = ["unix:", "https:", "/"].iter().any(|start| upstream.starts_with(start));
        let has_port = upstream.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let hint = || format!("{upstream} {why}; if it speaks TLS, run: tunnel http https://{upstream}");
        (has_port && !is_other).then(hint)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Visitor(code) => Self::new(code),
            Fault::Malformed(error) => Self::new(Code::UpstreamMalformed).because(error),
            Fault::Dispatch(error) => Self::from(error),
        }
    }
}
