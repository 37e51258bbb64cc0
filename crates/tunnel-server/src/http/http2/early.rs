//! What an HTTP/2 visitor hears before its answer: to go on (100), and which links to follow meanwhile (103).

use ::http::{HeaderMap, Response, StatusCode};
use tokio::sync::mpsc;

/// How many wait for the visitor's stream to take them; further ones are dropped, as any proxy may.
const QUEUE: usize = 4;

/// Says things early. Kept in the request's extensions.
#[derive(Clone, Debug)]
pub(in crate::http) struct Early(mpsc::Sender<Response<()>>);

impl Early {
    pub(super) fn new() -> (Self, mpsc::Receiver<Response<()>>) {
        let (early, said) = mpsc::channel(QUEUE);
        (Self(early), said)
    }

    /// The visitor may send its body.
    pub(super) fn go_on(&self) {
        self.say(StatusCode::CONTINUE, HeaderMap::new());
    }

    /// An answer of the upstream's that isn't the last.
    pub(in crate::http) fn say(&self, status: StatusCode, headers: HeaderMap) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        let _ = self.0.try_send(response);
    }
}
