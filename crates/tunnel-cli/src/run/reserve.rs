//! `tunnel reserve`: names that are one token's alone.

use std::path::Path;

use serde_json::json;
use tunnel_server::ReservedName;
use tunnel_store::{Actor, Reservation, Store};

use super::Failure;
use crate::{
    args::ReserveArgs,
    output::Console,
    state::{leases, places, store},
};

/// Reserves, releases or lists.
pub(super) async fn run(args: ReserveArgs, console: Console) -> Result<(), Failure> {
    let data = places::known_server_data(args.data_dir)?;
    let store = store::open(&data)?;
    match (args.name, args.token) {
        (Some(name), Some(token)) => {
            store.reserve(name.clone(), &token, Actor::Command).await?;
            console.remark(&format!("`{name}` is reserved for `{token}`; nobody else gets it"));
            if let Some(user) = user(&data, &store, &name, &token) {
                console
                    .remark(&format!("`{user}` has it now; a running server takes it down within a second"));
            }
        }
        (Some(name), None) => {
            store.release(name.clone(), Actor::Command).await?;
            console.remark(&format!("`{name}` is anybody's again"));
        }
        (None, _) => list(&store.reserved(), args.json, console),
    }
    Ok(())
}

fn list(all: &[Reservation], json: bool, console: Console) {
    if json {
        let form = |reserved: &Reservation| {
            let since = humantime::format_rfc3339_seconds(reserved.created).to_string();
            json!({ "name": reserved.name.to_string(), "for": &*reserved.token_name, "since": since })
        };
        return console.line(&serde_json::Value::from_iter(all.iter().map(form)).to_string());
    }
    all.iter().for_each(|reserved| console.line(&format!("{}  for {}", reserved.name, reserved.token_name)));
    if all.is_empty() {
        console.remark("nothing is reserved; to change that: tunnel reserve NAME --for TOKEN");
    }
}

/// Another token that had the name when the server noted down last who has which.
fn user(data: &Path, store: &Store, name: &ReservedName, token: &str) -> Option<String> {
    let owner = store.token(token)?.id;
    let is_it = |lease: &tunnel_server::SavedLease| match name {
        ReservedName::Subdomain(label) => lease.subdomain.as_deref() == Some(label.as_str()),
        ReservedName::Host(host) => lease.domain.as_deref() == Some(host.to_string().as_str()),
        ReservedName::Tcp(port) => lease.port == Some(*port),
        ReservedName::Udp(port) => lease.udp_port == Some(*port),
    };
    let leases = leases::load(data).unwrap_or_default();
    leases.into_iter().find(|lease| lease.token != owner && is_it(lease)).map(|lease| lease.name)
}
