//! The login and what stands on it: version, clock, heartbeat, UDP.
//!
//! It logs in as an installation of its own, so that a client that is running isn't disturbed, and publishes nothing
//! but a UDP port for a second.

use std::time::Duration;

use tunnel_client::{Client, ClientError, Code, ConnectError, LoginError, SessionStatus, Timeouts};

use super::{
    check::{Check, Fault, took},
    ladder::Ladder,
    udp,
};
use crate::{resolve::client::Target, run::Failure, state::places};

/// For another connection and the login on it.
const LOGIN: Duration = Duration::from_secs(4);
/// For all heartbeats.
const BEATS: Duration = Duration::from_secs(3);
const BEAT_COUNT: u32 = 3;
/// For leaving in order, which frees the port of the UDP check.
const LEAVE: Duration = Duration::from_millis(500);
/// A difference of clocks that matters to nothing.
const CLOCKS_AGREE: Duration = Duration::from_secs(5);
/// One that makes certificates and expiries wrong.
const CLOCKS_WRONG: Duration = Duration::from_secs(60);

/// Logs in and looks at what there is then.
pub(super) async fn examine(ladder: &mut Ladder, target: &Target) -> Option<()> {
    let client = match connect(target).await {
        Ok(client) => client,
        Err(error) => {
            let name = if is_about_versions(&error) { "version" } else { "login" };
            let cure = "check the server's log; get a new token there: tunnel token create NAME";
            ladder.note(Check::failed(name, Fault::of_line(&Failure::from(error).line(), cure)));
            return None;
        }
    };
    let Some(session) = client.status().session else {
        let fault = Fault::new("the session was over at once", "run this again; then check the server's log");
        ladder.note(Check::failed("login", fault));
        return None;
    };
    ladder.note(Check::ok("version", versions(&session)));
    ladder.note(Check::ok("login", format!("as `{}`", session.account)));
    ladder.note(clock(session.clock_ahead_ms));
    let (heartbeat, udp) = tokio::join!(heartbeat(&client), udp::examine(&client, target));
    ladder.note(heartbeat);
    ladder.note(udp);
    client.drain(LEAVE).await;
    Some(())
}

async fn connect(target: &Target) -> Result<Client, ConnectError> {
    let timeouts = Timeouts { dial: LOGIN, login: LOGIN, ..Timeouts::default() };
    let mut builder = Client::builder(target.server.to_string())
        .machine(&places::machine())
        .trust(target.effective_trust())
        .timeouts(timeouts)
        .fail_fast(true)
        .connect_timeout(LOGIN + LEAVE);
    if let Some(token) = &target.token {
        builder = builder.token(token.clone());
    }
    if let Some(proxy) = &target.proxy {
        builder = builder.proxy(proxy.clone());
    }
    builder.connect().await
}

fn is_about_versions(error: &ConnectError) -> bool {
    let ConnectError::Ended(ClientError::Login(error)) = error else { return false };
    match &**error {
        LoginError::Version(_) => true,
        LoginError::Refused(refusal) => matches!(refusal.code, Code::ClientTooOld | Code::ServerTooOld),
        _ => false,
    }
}

fn versions(session: &SessionStatus) -> String {
    let own = concat!("tunnel/", env!("CARGO_PKG_VERSION"));
    format!("server {}, client {own}, protocol {}", session.server, session.version)
}

fn clock(ahead_ms: Option<i64>) -> Check {
    let Some(ahead_ms) = ahead_ms else {
        return Check::skipped("clock", "the server doesn't tell its time; upgrade it for this check");
    };
    let apart = Duration::from_millis(ahead_ms.unsigned_abs());
    if apart <= CLOCKS_AGREE {
        return Check::ok("clock", format!("{} from the server's", took(apart)));
    }
    let way = if ahead_ms > 0 { "behind" } else { "ahead of" };
    let apart_words = humantime::format_duration(Duration::from_secs(apart.as_secs()));
    let what = format!("this machine's clock is {apart_words} {way} the server's");
    let fault = Fault::new(what, "set the one that is wrong: timedatectl set-ntp true");
    if apart < CLOCKS_WRONG { Check::warning("clock", fault) } else { Check::failed("clock", fault) }
}

async fn heartbeat(client: &Client) -> Check {
    let mut times = Vec::new();
    let beats = async {
        for _ in 0..BEAT_COUNT {
            match client.ping().await {
                Ok(time) => times.push(time),
                Err(_) => break,
            }
        }
    };
    // Those that came back in time are told.
    let _ = tokio::time::timeout(BEATS, beats).await;
    match (times.iter().min(), times.iter().max()) {
        (Some(least), Some(most)) => {
            let count = times.len();
            Check::ok("heartbeat", format!("{count} came back in {} to {}", took(*least), took(*most)))
        }
        _ => Check::failed(
            "heartbeat",
            Fault::new(
                "no heartbeat came back, though the login went well",
                "something on the way holds the connection back after it began: try another network, or a smaller MTU",
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn clocks() {
        for (ahead, status, text) in [
            (Some(40), Status::Ok, "40 ms from the server's"),
            (Some(-4_000), Status::Ok, "4.0 s from the server's"),
            (Some(30_500), Status::Warning, "this machine's clock is 30s behind the server's"),
            (Some(-7_200_000), Status::Failed, "this machine's clock is 2h ahead of the server's"),
            (Some(i64::MIN), Status::Failed, ""),
            (None, Status::Skipped, ""),
        ] {
            let check = clock(ahead);
            assert_eq!(check.status, status, "{ahead:?}");
            assert!(check.finding.contains(text), "{check:?}");
        }
    }
}
