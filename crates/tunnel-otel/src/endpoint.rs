//! Where spans are sent: a URL.

use std::{fmt, str::FromStr};

use http::Uri;

/// Where a receiver takes traces, below its base.
const TRACES: &str = "/v1/traces";

/// The URL of an OTLP receiver's traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) is_secure: bool,
    /// A name or an address, the latter without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Host and port as they were written.
    pub(crate) authority: String,
    pub(crate) path: String,
}

/// Why a text is no [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the address of an OTLP receiver; write for example http://localhost:4318")]
pub struct EndpointError(String);

impl Endpoint {
    /// Reads the URL that traces are sent to as it stands.
    ///
    /// # Errors
    /// [`EndpointError`]
    pub fn exact(text: &str) -> Result<Self, EndpointError> {
        let no = || EndpointError(text.to_owned());
        let uri: Uri = text.trim().parse().map_err(|_| no())?;
        let authority = uri.authority().ok_or_else(no)?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(no()),
        };
        let has_login = authority.as_str().contains('@');
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || has_login || authority.as_str().ends_with(':') {
            return Err(no());
        }
        Ok(Self {
            is_secure,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

/// The receiver's base, to which `/v1/traces` is added unless it ends so.
impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut endpoint = Self::exact(text)?;
        if !endpoint.path.ends_with(TRACES) {
            endpoint.path = endpoint.path.trim_end_matches('/').to_owned() + TRACES;
        }
        Ok(endpoint)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_leads_to_its_traces() {
        for (text, url, host, port) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces", "localhost", 4318),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces", "localhost", 4318),
            ("http://[::1]/v1/traces", "http://[::1]/v1/traces", "::1", 80),
            (
                "https://otel.example.com/otlp",
                "https://otel.example.com/otlp/v1/traces",
                "otel.example.com",
                443,
            ),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            let read = (endpoint.to_string(), endpoint.host.as_str(), endpoint.port);
            assert_eq!(read, (url.to_owned(), host, port), "{text}");
        }
        assert_eq!(Endpoint::exact("http://h/t?k=1").unwrap().to_string(), "http://h/t?k=1");
        assert_eq!(Endpoint::exact("http://h").unwrap().to_string(), "http://h/");
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "localhost:4318",
            "grpc://h:4317",
            "http://",
            "http://u:p@h",
            "http://h:",
            "http://h h",
            "/t",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("http://localhost:4318"), "{text}: {error}");
        }
    }
}
