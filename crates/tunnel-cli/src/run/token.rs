//! `tunnel token`: on the server's machine, with or without a running server, which follows by itself.

use std::{path::Path, time::SystemTime};

use tunnel_store::{Actor, Changes, NewToken, Store};

use super::Failure;
use crate::{
    args::{TokenArgs, TokenCommand},
    output::{Console, tokens as output},
    state::{facts::Facts, identity, places, store},
};

/// Makes, lists, shows, changes, rotates or revokes.
pub(super) async fn run(args: TokenArgs, console: Console) -> Result<(), Failure> {
    let data = places::known_server_data(args.data_dir)?;
    let store = store::open(&data)?;
    match args.command {
        TokenCommand::Create { name, rights } => {
            let new = NewToken { name, rights: rights.rights(), pin: pin(&data)? };
            let token = store.create(new, Actor::Command).await?;
            // Alone on its line and on standard output: scripts take it from there.
            console.line(&token.expose());
            console.remark("shown this once; on the laptop: tunnel login HOST:4444 --token TOKEN");
        }
        TokenCommand::List { json } => list(&store, &data, json, console),
        TokenCommand::Show { name, json } => {
            let record = store.known(&name)?;
            let usage = store.usage(record.id).await?;
            let reserved = store.reserved().into_iter().filter(|reserved| reserved.token == record.id);
            let reserved: Vec<_> = reserved.collect();
            if json {
                console.line(&output::json(&record, &usage, &reserved).to_string());
            } else {
                output::lines(&record, &usage, &reserved).iter().for_each(|line| console.line(line));
            }
        }
        TokenCommand::Edit { name, rights, remove_subdomain, remove_domain } => {
            let changes = Changes {
                take_subdomains: remove_subdomain,
                take_domains: remove_domain,
                ..rights.changes()
            };
            let record = store.edit(&name, changes, Actor::Command).await?;
            console.line(&output::line(&record));
            console.remark("a running server follows within a second");
        }
        TokenCommand::Rotate { name, grace } => {
            let token = store.rotate(&name, grace, pin(&data)?, Actor::Command).await?;
            console.line(&token.expose());
            if grace.is_zero() {
                console.remark("shown this once; the former secret is worth nothing from now on");
            } else {
                let until = humantime::format_rfc3339_seconds(SystemTime::now() + grace);
                console.remark(&format!("shown this once; the former secret is taken until {until} as well"));
            }
        }
        TokenCommand::Revoke { name } => {
            store.revoke(&name, Actor::Command).await?;
            console
                .remark(&format!("`{name}` is revoked; a running server ends its clients within a second"));
        }
    }
    Ok(())
}

fn list(store: &Store, data: &Path, json: bool, console: Console) {
    let all = store.tokens();
    if json {
        let all: Vec<_> = all.iter().map(|record| output::json(record, &[], &[])).collect();
        return console.line(&serde_json::Value::from(all).to_string());
    }
    all.iter().for_each(|record| console.line(&output::line(record)));
    if all.is_empty() {
        console.remark(&format!("no tokens in {}; make one: tunnel token create NAME", data.display()));
    }
}

/// What tokens of this server carry of its key.
fn pin(data: &Path) -> Result<Option<[u8; 32]>, Failure> {
    match Facts::load(data)?.pin {
        true => Ok(Some(*identity::load_or_make(data, &["localhost".into()])?.pin().as_bytes())),
        false => Ok(None),
    }
}
