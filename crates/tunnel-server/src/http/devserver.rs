//! Recognising a development server that refuses the public host name, and saying what cures it.
//!
//! Such servers answer to `localhost` only, so that no web site can have its visitors' browsers ask them (DNS
//! rebinding). The first thing that one sees through a tunnel is then an error page that doesn't name the tunnel.

use std::time::Duration;

use ::http::{
    Response, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use bytes::BytesMut;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::body::{BodyError, Inbound};

/// How much of an answer is read to recognise it, in bytes.
const LOOKED_AT: usize = 16 * 1024;

/// How long it is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A development server, and what it wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevServer {
    /// What people call it.
    pub name: &'static str,
    /// Its own setting that lets a host in.
    pub setting: &'static str,
}

/// What such a server answers.
struct Sign {
    status: StatusCode,
    text: Text,
    server: DevServer,
}

enum Text {
    /// The body begins with it.
    Begins(&'static str),
    /// The whole body is this.
    Is(&'static str),
    /// It is somewhere near the beginning.
    Holds(&'static str),
    /// The whole body is this, and the path has that in it.
    IsBelow(&'static str, &'static [&'static str]),
}

const WEBPACK: DevServer =
    DevServer { name: "webpack-dev-server", setting: "`devServer.allowedHosts` in webpack.config.js" };

/// The first that fits counts.
const SIGNS: &[Sign] = &[
    Sign {
        status: StatusCode::FORBIDDEN,
        text: Text::Holds("angular.json"),
        server: DevServer { name: "Angular", setting: "`allowedHosts` in angular.json" },
    },
    Sign {
        status: StatusCode::FORBIDDEN,
        text: Text::Begins("Blocked request. This host ("),
        server: DevServer { name: "Vite", setting: "`server.allowedHosts` in vite.config.js" },
    },
    Sign { status: StatusCode::FORBIDDEN, text: Text::Is("Invalid Host header"), server: WEBPACK },
    // Before version 5.
    Sign { status: StatusCode::OK, text: Text::Is("Invalid Host header"), server: WEBPACK },
    Sign {
        status: StatusCode::FORBIDDEN,
        text: Text::IsBelow("Unauthorized", &["/_next", "/__nextjs"]),
        server: DevServer { name: "Next.js", setting: "`allowedDevOrigins` in next.config.js" },
    },
    Sign {
        status: StatusCode::FORBIDDEN,
        text: Text::Holds("Blocked host"),
        server: DevServer { name: "Rails", setting: "`config.hosts` in config/environments/development.rb" },
    },
    Sign {
        status: StatusCode::BAD_REQUEST,
        text: Text::Holds("DisallowedHost"),
        server: DevServer { name: "Django", setting: "`ALLOWED_HOSTS` in settings.py" },
    },
    Sign {
        status: StatusCode::BAD_REQUEST,
        text: Text::Holds(" is not trusted."),
        server: DevServer { name: "Flask", setting: "`TRUSTED_HOSTS`" },
    },
    Sign {
        status: StatusCode::BAD_REQUEST,
        text: Text::Is("Invalid host header"),
        server: DevServer { name: "Starlette", setting: "`allowed_hosts` of `TrustedHostMiddleware`" },
    },
];

impl DevServer {
    /// The development server that gives this answer to a host it doesn't allow, if it is one: `text` is the beginning
    /// of the body, `path` what was asked for.
    pub fn that_refuses(status: u16, text: &[u8], path: &str) -> Option<Self> {
        find(StatusCode::from_u16(status).ok()?, text, path)
    }

    /// One line for the tunnel's owner.
    pub fn hint(&self, host: &str) -> String {
        let Self { name, setting } = self;
        format!(
            "{name} doesn't allow the host {host}: start the client with `--host-header rewrite`, or add it to {setting}"
        )
    }

    /// For the page that the visitor gets.
    pub(super) fn words(&self) -> String {
        let Self { name, setting } = self;
        format!("{name}, which has a setting for that ({setting}),")
    }
}

/// The development server that refused the request's host with this answer; or else the answer, whole.
///
/// # Errors
/// The answer broke off.
///
/// # Cancel safety
/// Dropping it loses the answer.
pub(super) async fn recognise(
    response: Response<Inbound>,
    uri: &Uri,
) -> Result<Result<DevServer, Response<Inbound>>, BodyError> {
    if !is_suspect(&response) {
        return Ok(Err(response));
    }
    let (head, mut body) = response.into_parts();
    let (mut frames, mut text) = (Vec::new(), BytesMut::new());
    let reading = async {
        while text.len() < LOOKED_AT {
            let Some(frame) = body.frame().await.transpose()? else { break };
            if let Some(data) = frame.data_ref() {
                text.extend_from_slice(&data[..data.len().min(LOOKED_AT - text.len())]);
            }
            frames.push(frame);
        }
        Ok::<(), BodyError>(())
    };
    // What is slow is none of those.
    if let Ok(read) = timeout(PATIENCE, reading).await {
        read?;
        if let Some(server) = find(head.status, &text, uri.path()) {
            return Ok(Ok(server));
        }
    }
    Ok(Err(Response::from_parts(head, Inbound::begun(frames, body))))
}

/// Whether an answer may be one of those, by its head.
fn is_suspect(response: &Response<Inbound>) -> bool {
    let is_old_webpack = || response.body().size_hint().exact() == Some("Invalid Host header".len() as u64);
    let by_status = match response.status() {
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => true,
        StatusCode::OK => is_old_webpack(),
        _ => false,
    };
    let headers = response.headers();
    let is_text = headers.get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/"));
    by_status && is_text && !headers.contains_key(CONTENT_ENCODING) && !response.body().is_end_stream()
}

fn find(status: StatusCode, text: &[u8], path: &str) -> Option<DevServer> {
    let text = String::from_utf8_lossy(text);
    let fits = |sign: &&Sign| {
        sign.status == status
            && match sign.text {
                Text::Begins(beginning) => text.starts_with(beginning),
                Text::Is(whole) => text.trim() == whole,
                Text::Holds(part) => holds(&text, part),
                Text::IsBelow(whole, parts) => {
                    text.trim() == whole && parts.iter().any(|part| path.contains(part))
                }
            }
    };
    SIGNS.iter().find(fits).map(|sign| sign.server)
}

/// Words that stand for themselves are not enough for a page that may be anything.
fn holds(text: &str, part: &str) -> bool {
    let also = match part {
        "angular.json" => "Blocked request. This host",
        "Blocked host" => "config.hosts",
        "DisallowedHost" => "ALLOWED_HOSTS",
        " is not trusted." => "Host ",
        _ => "",
    };
    text.contains(part) && text.contains(also)
}

#[cfg(test)]
mod tests;
