//! What visitors read when something went wrong: one sentence on what happened, one on what helps.
//!
//! The visitor is often the owner of the tunnel, trying it out. So the second sentence is for the owner, and names
//! the upstream.

use std::fmt::Write as _;

use ::http::StatusCode;
use tunnel_protocol::{Code, RequestId, text::is_hidden};

use super::interstitial::GO_ON;
use crate::contact::Contact;

/// What a page tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    pub(super) code: Code,
    /// More about the reason, in our words.
    pub(super) detail: Option<&'a str>,
    /// The host asked for.
    pub(super) host: Option<&'a str>,
    /// Where the client forwards to, as it says.
    pub(super) upstream: Option<&'a str>,
    /// The server's domain.
    pub(super) server: &'a str,
    /// The path that this page stands before: a button leads on to it.
    pub(super) behind: Option<&'a str>,
    /// Where to report what is published here.
    pub(super) contact: Option<&'a Contact>,
    pub(super) request: RequestId,
    pub(super) status: StatusCode,
}

/// A page's words.
struct Words {
    title: &'static str,
    happened: String,
    /// Empty if nothing helps.
    helps: String,
}

impl Page<'_> {
    /// As a page for browsers: one file, no scripts, light or dark as the visitor likes it.
    pub(super) fn html(&self) -> String {
        let Words { title, happened, helps } = self.words();
        let (status, code, request) = (self.status.as_u16(), self.code.name(), self.request);
        let (happened, helps) = (escape_html(&happened), escape_html(&helps));
        let (button, report) = (self.button(), self.report_link());
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{status} {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n<p>{happened}</p>\n<p>{helps}</p>\n{button}\
             <footer>{report}{status} · {code} · request {request}</footer>\n</main>\n</body>\n</html>\n"
        )
    }

    /// Leads on to what is behind the page, by a form: it works without a script.
    fn button(&self) -> String {
        let Some(path) = self.behind else { return String::new() };
        let host = escape_html(self.host());
        let path = escape_html(path);
        format!("<form method=\"post\" action=\"{GO_ON}{path}\"><button>Go on to {host}</button></form>\n")
    }

    fn report_link(&self) -> String {
        let Some(contact) = self.contact else { return String::new() };
        let (href, shown) = (escape_html(&contact.href()), escape_html(&contact.to_string()));
        format!("Report abuse: <a rel=\"nofollow\" href=\"{href}\">{shown}</a><br>\n")
    }

    /// As JSON for programs.
    pub(super) fn json(&self) -> String {
        let Words { happened, helps, .. } = self.words();
        let message = escape_json(format!("{happened} {helps}").trim_end());
        let (code, request) = (self.code.name(), self.request);
        let contact = self.contact.map(|contact| escape_json(&contact.to_string()));
        let report = contact.map(|contact| format!(",\"report_abuse\":\"{contact}\"")).unwrap_or_default();
        format!("{{\"error\":\"{code}\",\"message\":\"{message}\",\"request\":\"{request}\"{report}}}\n")
    }

    /// As text for everyone else.
    pub(super) fn text(&self) -> String {
        let Words { title, happened, helps } = self.words();
        let (status, code, request) = (self.status.as_u16(), self.code.name(), self.request);
        let helps = if helps.is_empty() { helps } else { format!("{helps}\n") };
        let report = self.contact.map(|contact| format!("Report abuse: {contact}\n")).unwrap_or_default();
        // What a terminal would obey is not text.
        let shown: String =
            format!("{status} {title}\n\n{happened}\n{helps}\n{report}{code}, request {request}\n");
        shown.chars().filter(|c| *c == '\n' || !is_hidden(*c)).collect()
    }

    /// As one line, for programs that show no more.
    pub(super) fn line(&self) -> String {
        let Words { happened, helps, .. } = self.words();
        format!("{happened} {helps}").trim_end().to_owned()
    }

    fn host(&self) -> &str {
        self.host.unwrap_or("this address")
    }

    fn words(&self) -> Words {
        let host = self.host();
        let upstream = self.upstream.unwrap_or("its upstream");
        let (title, happened, helps) = match self.code {
            Code::TunnelNotFound => (
                "No such tunnel",
                format!("There is no tunnel at {host}."),
                "If it is yours, start the client, and check the name in its output.".into(),
            ),
            Code::TunnelAway => (
                "The tunnel is away",
                format!("The client behind {host} is not connected right now, and did not return in time."),
                "Try again in a moment. If the tunnel is yours, check that its client is running and online.".into(),
            ),
            Code::TunnelPaused => (
                "The tunnel is paused",
                format!("The operator of this server lets nobody in at {host} for now."),
                "If the tunnel is yours, ask the operator.".into(),
            ),
            Code::QuotaUsed => (
                "No more this month",
                format!("Whoever publishes {host} has used up the traffic of this month."),
                "If the tunnel is yours, ask the operator of this server for more.".into(),
            ),
            Code::TooManyVisitors => (
                "Too many visitors",
                match (self.host, self.detail) {
                    (None, Some(detail)) => format!("{detail}."),
                    _ => format!("{host} has as many visitors as it may have at once."),
                },
                "Try again in a moment.".into(),
            ),
            Code::ClientBusy => (
                "Too many visitors",
                format!("The client behind {host} has as many visitors as it can serve at once."),
                "Try again in a moment.".into(),
            ),
            Code::UpstreamRefused => (
                "Nothing answers behind the tunnel",
                format!(
                    "The request reached the client, but nothing answered at {upstream} (connection refused)."
                ),
                format!("Start the service at {upstream}, or check the port the client forwards to."),
            ),
            Code::UpstreamUnreachable => (
                "Nothing answers behind the tunnel",
                format!("The request reached the client, but {upstream} can't be reached or resolved from there."),
                "Check the address the client forwards to.".into(),
            ),
            Code::UpstreamTimeout => (
                "Nothing answers behind the tunnel",
                format!("The request reached the client, but {upstream} did not accept the connection in time."),
                "Check that the service is running and not overloaded.".into(),
            ),
            Code::UpstreamTls => (
                "No TLS behind the tunnel",
                format!(
                    "The request reached the client, but {upstream} doesn't speak TLS, or its certificate isn't trusted."
                ),
                "The client says which. Forward to http:// if the service has no TLS, or trust its certificate.".into(),
            ),
            Code::UpstreamBroken => (
                "The answer broke off",
                format!("The connection to {upstream} ended before there was an answer."),
                "Check the log of the service. The request may have been carried out.".into(),
            ),
            Code::UpstreamMalformed => (
                "The answer is not HTTP",
                self.broken(&format!("What {upstream} answered is not valid HTTP")),
                "Check that the client forwards to a web service, and not to one that speaks TLS or another protocol. \
                 For one that speaks HTTP/2 only, as gRPC does, start it with `--upstream-protocol h2c`."
                    .into(),
            ),
            Code::BadRequest => ("Bad request", self.broken("The request is not valid HTTP"), String::new()),
            Code::HeadTooLarge => (
                "The request's head is too large",
                self.broken("The request's address and fields are larger than 32 KiB, or more than 100"),
                "Cookies are the usual reason: delete those of this site.".into(),
            ),
            Code::RequestTimeout => {
                ("The request took too long", "The request did not arrive in time.".into(), String::new())
            }
            Code::MethodNotAllowed => (
                "Method not allowed",
                self.broken("The request's method is not one that a tunnel carries"),
                String::new(),
            ),
            Code::VersionNotSupported => (
                "HTTP version not supported",
                self.broken("This port speaks HTTP/2, HTTP/1.1 and HTTP/1.0"),
                String::new(),
            ),
            Code::AuthRequired => (
                "Login required",
                format!("{host} asks for a user and password."),
                "Who published it knows them.".into(),
            ),
            Code::AddressNotAllowed => (
                "Not from this address",
                format!("{host} doesn't take visitors from your address."),
                "If it is yours, look at the `--allow-cidr` and `--deny-cidr` of its client.".into(),
            ),
            Code::RateLimited => (
                "Too many requests",
                match (self.host, self.detail) {
                    (None, Some(detail)) => format!("Your address sent {detail}."),
                    (_, Some(detail)) => format!("Your address sent {detail} to {host}."),
                    (_, None) => format!("Your address sent more requests to {host} than it may."),
                },
                "Wait a moment and try again.".into(),
            ),
            Code::UpstreamHostRefused => (
                "The service doesn't know this host name",
                format!("{} at {upstream} answered that it doesn't allow the host {host}.", self.detail.unwrap_or("The service")),
                "If it is yours, start the client with `--host-header rewrite`.".into(),
            ),
            Code::FirstVisit => (
                "A page from somebody's own machine",
                format!(
                    "{host} is served by a program on the machine of a person who uses the server {}. Nobody else \
                     has looked at what it shows.",
                    self.server
                ),
                "Go on only if you trust who sent you here. Don't type passwords, card numbers or anything else that \
                 you wouldn't give to a stranger. For this host you are asked once a week."
                    .into(),
            ),
            Code::Overloaded => (
                "The server is full",
                "The server has no memory left for another visitor right now.".into(),
                "Try again in a moment.".into(),
            ),
            Code::Misdirected => (
                "Misdirected request",
                format!("This connection may not be used for {host}."),
                "Open a new one.".into(),
            ),
            _ => (
                "Something broke",
                "Something broke in the tunnel itself.".into(),
                "The server's log says more, under the number below.".into(),
            ),
        };
        Words { title, happened, helps }
    }

    fn broken(&self, rule: &str) -> String {
        match self.detail {
            Some(detail) => format!("{rule}: {detail}."),
            None => format!("{rule}."),
        }
    }
}

const STYLE: &str = "\
    :root{color-scheme:light dark}\
    body{margin:0;min-height:100vh;display:grid;place-items:center;font:1rem/1.6 system-ui,sans-serif;\
    color:#1c1c1e;background:#f7f7f8}\
    main{max-width:34rem;padding:2rem}\
    h1{font-size:1.5rem;font-weight:600;margin:0 0 1rem}\
    p{margin:0 0 .75rem;overflow-wrap:anywhere}\
    button{font:inherit;margin:.75rem 0 0;padding:.5rem 1rem;border:1px solid;border-radius:.4rem;\
    color:inherit;background:none;cursor:pointer;overflow-wrap:anywhere}\
    a{color:inherit}\
    footer{margin-top:2rem;font-size:.8rem;opacity:.6;overflow-wrap:anywhere}\
    @media(prefers-color-scheme:dark){body{color:#ececee;background:#18181a}}";

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if is_hidden(c) => {}
            c => escaped.push(c),
        }
    }
    escaped
}

fn escape_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            c if is_hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string can't fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}
