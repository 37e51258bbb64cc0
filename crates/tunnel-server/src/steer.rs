//! What an operator does to a running server: sends a client away, takes a tunnel down, keeps visitors out of one,
//! drains.

use std::time::Duration;

use tunnel_protocol::{Code, Refusal, ServerMessage, SessionId, text::printable};

use crate::server::ServerHandle;

/// How long a client may take to hear why its session ends. One that doesn't listen is out as well.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// When a client that was sent away may come back.
const RETURN: Duration = Duration::from_secs(10);

/// The most of an operator's words that goes to a client, in characters.
const WORDS: usize = 200;

/// There is no such session (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no session {0}; it may have ended")]
pub struct NoSuchSession(pub SessionId);

/// There is no such tunnel (any more).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no tunnel `{0}`; write its URL as `tunnel ps` shows it")]
pub struct NoSuchTunnel(pub String);

impl ServerHandle {
    /// Ends a session: its visitors are cut off, and its client hears why (`reason`, empty for none) within half a
    /// second. The client comes back after ten seconds, and until then its names are kept for it; to keep it out,
    /// revoke its token.
    ///
    /// # Errors
    /// [`NoSuchSession`]
    pub fn end_session(&self, session: SessionId, reason: &str) -> Result<(), NoSuchSession> {
        let found = self.control.sessions.get(session).ok_or(NoSuchSession(session))?;
        let reason = printable(reason, WORDS);
        let message = format!(
            "the server's operator ended this session{}; the client may come back in {} s",
            because(&reason),
            RETURN.as_secs()
        );
        let refusal =
            Refusal::passing(Code::Closed, message, u64::try_from(RETURN.as_millis()).unwrap_or(u64::MAX));
        // Whatever becomes of the caller, it is carried out.
        self.control.tasks.spawn(async move {
            let told = found.tell(ServerMessage::GoAway { refusal });
            let _ = tokio::time::timeout(LAST_WORDS, told).await;
            found.end(format!("the operator ended it{}", because(&reason)));
        });
        Ok(())
    }

    /// Takes the tunnel at this address down, by whomever it is served, together with its visitors. Its clients hear
    /// why (`reason`, empty for none) and don't ask for it again by themselves; its name is free at once, also for
    /// them if a person starts them anew.
    ///
    /// # Errors
    /// [`NoSuchTunnel`]
    pub fn close_tunnel(&self, url: &str, reason: &str) -> Result<(), NoSuchTunnel> {
        let message =
            format!("the server's operator closed this tunnel{}", because(&printable(reason, WORDS)));
        let refusal = Refusal::permanent(Code::Closed, message);
        let closed = self.control.registry.close(url, &refusal);
        if closed { Ok(()) } else { Err(NoSuchTunnel(url.to_owned())) }
    }

    /// Keeps new visitors out of the tunnel at this address, or lets them in again: without a path out of the whole
    /// host, with one out of that path and what is below it, by whatever tunnels of that owner they come.
    ///
    /// Those who are there go on, but for datagrams. Web visitors are answered 503 (`tunnel-paused`), others reset. It
    /// stays so while the tunnel's owner comes and goes, until it is undone; and with a successor, or after a restart,
    /// for the leases that are passed on.
    ///
    /// # Errors
    /// [`NoSuchTunnel`]
    pub fn pause_tunnel(&self, url: &str, paused: bool) -> Result<(), NoSuchTunnel> {
        let found = self.control.registry.pause(url, paused);
        if found { Ok(()) } else { Err(NoSuchTunnel(url.to_owned())) }
    }

    /// Has the server do what it does when it is asked to stop: let nobody in, tell its clients, let what is under way
    /// finish. [`Server::run`](crate::Server::run) returns after that.
    pub fn drain(&self) {
        self.control.retiring.cancel();
    }

    /// Whether the server lets nobody in any more.
    pub fn is_draining(&self) -> bool {
        self.control.shared.draining.is_cancelled()
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}
