//! Commands that ask a running server over its admin socket: `tunnel status`, `ps`, `kick`, `close`, `pause`, `resume`,
//! `drain`, `dashboard`.

use tunnel_admin::{
    AdminClient, CloseTunnel, Kick, NamedTunnel, Session, SessionList, SignInLink, Status, TunnelList,
};

use super::Failure;
use crate::{
    args::{CloseArgs, KickArgs, LookArgs, OneTunnelArgs, WhichServer},
    output::{Console, admin},
    state::places,
};

/// The socket's name in a server's data directory.
pub(super) const SOCKET: &str = "admin.sock";

/// `tunnel status`.
pub(super) async fn status(args: LookArgs, console: Console) -> Result<(), Failure> {
    let status: Status = client(args.server)?.get("/api/v1/status").await?;
    match args.json {
        true => console.line(&admin::json(&status)),
        false => admin::status(&status).iter().for_each(|line| console.line(line)),
    }
    Ok(())
}

/// `tunnel ps`.
pub(super) async fn ps(args: LookArgs, console: Console) -> Result<(), Failure> {
    let client = client(args.server)?;
    let sessions: SessionList = client.get("/api/v1/sessions").await?;
    let tunnels: TunnelList = client.get("/api/v1/tunnels").await?;
    if args.json {
        let all = serde_json::json!({ "sessions": sessions.sessions, "tunnels": tunnels.tunnels });
        console.line(&admin::json(&all));
        return Ok(());
    }
    admin::processes(&sessions.sessions, &tunnels.tunnels).iter().for_each(|line| console.line(line));
    Ok(())
}

/// `tunnel kick`.
pub(super) async fn kick(args: KickArgs, console: Console) -> Result<(), Failure> {
    let client = client(args.server)?;
    let SessionList { sessions, .. } = client.get("/api/v1/sessions").await?;
    let meant = meant(&args.who, &sessions).ok_or_else(|| Failure::Whom(args.who.clone()))?;
    for session in meant {
        let kick = Kick { reason: args.reason.clone().unwrap_or_default() };
        client.post::<()>(&format!("/api/v1/sessions/{}/kick", session.id), &kick).await?;
        console.line(&format!("ended {}", admin::session(session)));
    }
    console.remark("clients come back after ten seconds; to keep one out: tunnel token revoke NAME");
    Ok(())
}

/// `tunnel close`.
pub(super) async fn close(args: CloseArgs, console: Console) -> Result<(), Failure> {
    let close = CloseTunnel { url: args.url, reason: args.reason.unwrap_or_default() };
    client(args.server)?.post::<()>("/api/v1/tunnels/close", &close).await?;
    console.line(&format!("closed {}", close.url));
    Ok(())
}

/// `tunnel pause`, and with `paused` off `tunnel resume`.
pub(super) async fn pause(args: OneTunnelArgs, paused: bool, console: Console) -> Result<(), Failure> {
    let (verb, done) = if paused { ("pause", "paused") } else { ("resume", "resumed") };
    let tunnel = NamedTunnel { url: args.url };
    client(args.server)?.post::<()>(&format!("/api/v1/tunnels/{verb}"), &tunnel).await?;
    console.line(&format!("{done} {}", tunnel.url));
    Ok(())
}

/// `tunnel drain`.
pub(super) async fn drain(server: WhichServer, console: Console) -> Result<(), Failure> {
    client(server)?.post::<()>("/api/v1/drain", &()).await?;
    console.line("draining: nobody is let in any more, and the server ends once what is under way is done");
    Ok(())
}

/// `tunnel dashboard`.
pub(super) async fn dashboard(server: WhichServer, console: Console) -> Result<(), Failure> {
    let link: SignInLink = client(server)?.post("/api/v1/sign-in-links", &()).await?;
    console.line(&link.url);
    console.remark(&format!("works once, until {}", link.until));
    if let Some(address) = local(&link.url) {
        console.remark(&format!("from a laptop, first: ssh -L {address}:{address} THIS-MACHINE"));
    }
    Ok(())
}

/// The sessions of a token of this name, or the one session whose id begins so.
fn meant<'a>(who: &str, sessions: &'a [Session]) -> Option<Vec<&'a Session>> {
    let of_token: Vec<_> = sessions.iter().filter(|session| session.token == who).collect();
    if !of_token.is_empty() {
        return Some(of_token);
    }
    let by_id: Vec<_> = sessions.iter().filter(|session| session.id.starts_with(who)).collect();
    (who.len() >= SHORTEST_ID && by_id.len() == 1).then_some(by_id)
}

/// The address of a URL that only this machine reaches.
fn local(url: &str) -> Option<&str> {
    url.strip_prefix("http://")?.split('/').next()
}

fn client(server: WhichServer) -> Result<AdminClient, Failure> {
    Ok(AdminClient::new(&places::known_server_data(server.data_dir)?.join(SOCKET)))
}

/// Of how much of an id one can be sure that it was meant.
const SHORTEST_ID: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Vec<Session> {
        let session = |id: &str, token: &str| {
            let value = serde_json::json!({
                "id": id, "token": token, "machine": "m", "agent": "a", "address": "192.0.2.1:1",
                "since": "2026-11-27T00:00:00Z", "leaving": false, "rtt_ms": null, "lanes": 1, "streams": 0,
                "tunnels": 0, "received": 0, "sent": 0,
            });
            serde_json::from_value(value).unwrap()
        };
        vec![session("abcd0001", "ci"), session("abcd0002", "ci"), session("beef0003", "laptop")]
    }

    #[test]
    fn a_session_is_meant_by_its_token_or_by_an_id_that_only_it_has() {
        let sessions = sessions();
        let ids = |who: &str| {
            meant(who, &sessions).map(|meant| meant.iter().map(|one| one.id.as_str()).collect::<Vec<_>>())
        };
        assert_eq!(ids("ci"), Some(vec!["abcd0001", "abcd0002"]));
        assert_eq!(ids("beef"), Some(vec!["beef0003"]));
        assert_eq!(ids("abcd0002"), Some(vec!["abcd0002"]));
        for who in ["abcd", "bee", "", "nobody"] {
            assert_eq!(ids(who), None, "{who}");
        }
    }

    #[test]
    fn a_local_address_is_one_without_tls() {
        assert_eq!(local("http://127.0.0.1:9090/#sign-in=x"), Some("127.0.0.1:9090"));
        assert_eq!(local("https://example.com:9090/#sign-in=x"), None);
    }
}
