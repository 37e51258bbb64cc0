//! `tunnel reserve`: names that are one token's alone.

use std::path::Path;

use serde_json::json;
use tunnel_admin::Reservation;
use tunnel_server::ReservedName;

use super::{Failure, books::Books};
use crate::{
    args::ReserveArgs,
    output::Console,
    state::{leases, places},
};

/// Reserves, releases or lists.
pub(super) async fn run(args: ReserveArgs, console: Console) -> Result<(), Failure> {
    let data = places::known_server_data(args.data_dir)?;
    let books = Books::open(&data).await?;
    match (args.name, args.token) {
        (Some(name), Some(token)) => {
            // A running server may take it down at once.
            let user = user(&data, &name, &token);
            let reservation = Reservation { name: name.to_string(), token: token.clone(), since: None };
            books.reserve(reservation).await?;
            console.remark(&format!("`{name}` is reserved for `{token}`; nobody else gets it"));
            if let Some(user) = user {
                console
                    .remark(&format!("`{user}` has it now; a running server takes it down within a second"));
            }
        }
        (Some(name), None) => {
            books.release(name.to_string()).await?;
            console.remark(&format!("`{name}` is anybody's again"));
        }
        (None, _) => list(&books.reservations().await?, args.json, console),
    }
    Ok(())
}

fn list(all: &[Reservation], json: bool, console: Console) {
    if json {
        let form = |reserved: &Reservation| {
            let since = reserved.since.map(|since| humantime::format_rfc3339_seconds(since.0).to_string());
            json!({ "name": reserved.name, "for": reserved.token, "since": since })
        };
        return console.line(&serde_json::Value::from_iter(all.iter().map(form)).to_string());
    }
    all.iter().for_each(|reserved| console.line(&format!("{}  for {}", reserved.name, reserved.token)));
    if all.is_empty() {
        console.remark("nothing is reserved; to change that: tunnel reserve NAME --for TOKEN");
    }
}

/// Another token that had the name when the server noted down last who has which.
fn user(data: &Path, name: &ReservedName, token: &str) -> Option<String> {
    let is_it = |lease: &tunnel_server::SavedLease| match name {
        ReservedName::Subdomain(label) => lease.subdomain.as_deref() == Some(label.as_str()),
        ReservedName::Host(host) => lease.domain.as_deref() == Some(host.to_string().as_str()),
        ReservedName::Tcp(port) => lease.port == Some(*port),
        ReservedName::Udp(port) => lease.udp_port == Some(*port),
    };
    let leases = leases::load(data).unwrap_or_default();
    leases.into_iter().find(|lease| lease.name != token && is_it(lease)).map(|lease| lease.name)
}
