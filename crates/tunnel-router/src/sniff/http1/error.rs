//! Why a head is refused. Texts name the rule, never the visitor's bytes: they may be logged and shown.

use crate::hostname::HostnameError;
use crate::sniff::line::FieldError;

/// Why a head is refused. After any of these the connection has to be closed, since nobody knows where
/// the next head would start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A line feed without a carriage return, which some take for a line's end.
    #[error("a line ends in a bare LF")]
    BareLf,
    /// A carriage return without a line feed.
    #[error("the head holds a bare CR")]
    BareCr,
    /// NUL or another control byte. A TLS hello ends here too.
    #[error("the head holds a control byte")]
    ControlByte,
    /// An empty line before the request line. RFC 9112 §2.2 lets a server skip it for the sake of
    /// clients of the nineties; after a body whose end is in dispute it is how the dispute shows.
    #[error("the head starts with an empty line")]
    LeadingEmptyLine,
    /// Not `method SP target SP HTTP/d.d`.
    #[error("the request line is not a method, a target and a version with single spaces between")]
    RequestLine,
    /// A version other than 1.0 and 1.1.
    #[error("the HTTP version is neither 1.0 nor 1.1")]
    Version,
    /// An HTTP/2 client that was not told to speak HTTP/1.
    #[error("this is the HTTP/2 preface")]
    Http2Preface,
    /// CONNECT: nobody dials by request target here.
    #[error("CONNECT is not served")]
    Connect,
    /// A target in none of the accepted forms, with a fragment, or with bytes other than visible ASCII.
    #[error("the request target is neither a path nor an http(s) URI, nor `*` with OPTIONS")]
    Target,
    /// An absolute target whose authority is no host and port.
    #[error("the request target's authority is invalid")]
    TargetAuthority(#[source] HostnameError),
    /// An absolute target for another host or port than `Host`.
    #[error("the request target and the Host field name different hosts")]
    HostMismatch,
    /// A line that continues the one before (obs-fold).
    #[error("a field is folded over several lines")]
    FoldedField,
    /// A field line without a colon.
    #[error("a field line has no colon")]
    FieldWithoutColon,
    /// A field name that is no token, such as one followed by a space.
    #[error("a field name is not a token")]
    FieldName,
    /// No `Host`, on HTTP/1.0 as well.
    #[error("there is no Host field")]
    NoHost,
    /// More than one `Host`, even if they agree.
    #[error("there are several Host fields")]
    SeveralHosts,
    /// `Host` is no host and port.
    #[error("the Host field is invalid")]
    Host(#[source] HostnameError),
    /// `Content-Length` is not digits only, or over 2^64-1.
    #[error("the Content-Length is not a decimal number in range")]
    ContentLength,
    /// More than one `Content-Length`, even if they agree.
    #[error("there are several Content-Length fields")]
    SeveralContentLengths,
    /// `Transfer-Encoding` is not exactly `chunked`.
    #[error("the Transfer-Encoding is not `chunked`")]
    TransferEncoding,
    /// More than one `Transfer-Encoding`.
    #[error("there are several Transfer-Encoding fields")]
    SeveralTransferEncodings,
    /// `Transfer-Encoding` on HTTP/1.0, which doesn't have it.
    #[error("Transfer-Encoding is used with HTTP/1.0")]
    ChunkedOnHttp10,
    /// Both `Content-Length` and `Transfer-Encoding`.
    #[error("both Content-Length and Transfer-Encoding are present")]
    LengthAndChunked,
    /// `Connection` names `Host`, `Content-Length` or `Transfer-Encoding`, to have a proxy remove it.
    #[error("the Connection field names a field that routes or frames the request")]
    ConnectionNames,
    /// No end within [`HeadLimits::bytes`](super::HeadLimits::bytes).
    #[error("the head is too large")]
    TooLarge,
    /// More field lines than [`HeadLimits::fields`](super::HeadLimits::fields).
    #[error("the head has too many fields")]
    TooManyFields,
}

/// What to answer a refused head with, before closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400.
    BadRequest,
    /// 405.
    MethodNotAllowed,
    /// 431, for a long target as well: the reader can't tell which part grew.
    HeadTooLarge,
    /// 505.
    VersionNotSupported,
}

impl HeadError {
    /// What to answer.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Connect => Refusal::MethodNotAllowed,
            Self::TooLarge | Self::TooManyFields => Refusal::HeadTooLarge,
            Self::Version | Self::Http2Preface => Refusal::VersionNotSupported,
            _ => Refusal::BadRequest,
        }
    }
}

impl Refusal {
    /// The HTTP status code.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::MethodNotAllowed => 405,
            Self::HeadTooLarge => 431,
            Self::VersionNotSupported => 505,
        }
    }
}

impl From<FieldError> for HeadError {
    fn from(error: FieldError) -> Self {
        match error {
            FieldError::Folded => Self::FoldedField,
            FieldError::NoColon => Self::FieldWithoutColon,
            FieldError::Name => Self::FieldName,
        }
    }
}
