//! `tunnel token`: on the server's machine, with or without a running server.

use std::{path::Path, time::SystemTime};

use tunnel_admin::{NewToken, Token};
use tunnel_store::Changes;

use super::{
    Failure,
    books::Books,
    keeper::{changes_in_texts, rights_in_texts},
};
use crate::{
    args::{TokenArgs, TokenCommand},
    output::{Console, tokens as output},
    state::{facts::Facts, places},
};

/// Makes, lists, shows, changes, rotates or revokes.
pub(super) async fn run(args: TokenArgs, console: Console) -> Result<(), Failure> {
    let data = places::known_server_data(args.data_dir)?;
    let books = Books::open(&data).await?;
    match args.command {
        TokenCommand::Create { name, rights } => {
            let issued = books
                .create(NewToken { name: name.clone(), rights: rights_in_texts(&rights.rights()) })
                .await?;
            // Alone on its line and on standard output: scripts take it from there.
            show(&issued.secret, name, console)?;
            console.remark(&format!("shown this once; {}", login(&data)));
        }
        TokenCommand::List { json } => {
            let all = books.tokens().await?;
            list(&all, json, console);
            if all.is_empty() && !json {
                console
                    .remark(&format!("no tokens in {}; make one: tunnel token create NAME", data.display()));
            }
        }
        TokenCommand::Show { name, json } => {
            let token = books.token(name).await?;
            if json {
                console.line(&output::json_in_full(&token).to_string());
            } else {
                output::lines(&token).iter().for_each(|line| console.line(line));
            }
        }
        TokenCommand::Edit { name, rights, remove_subdomain, remove_domain } => {
            let changes = Changes {
                take_subdomains: remove_subdomain,
                take_domains: remove_domain,
                ..rights.changes()
            };
            let token = books.change(name, changes_in_texts(&changes)).await?;
            console.line(&output::line(&token));
            console.remark("a running server follows within a second");
        }
        TokenCommand::Rotate { name, grace } => {
            let issued = books.rotate(name.clone(), grace).await?;
            show(&issued.secret, name, console)?;
            if grace.is_zero() {
                console.remark("shown this once; the former secret is worth nothing from now on");
            } else {
                let until = humantime::format_rfc3339_seconds(SystemTime::now() + grace);
                console.remark(&format!("shown this once; the former secret is taken until {until} as well"));
            }
        }
        TokenCommand::Revoke { name } => {
            books.revoke(name.clone()).await?;
            console
                .remark(&format!("`{name}` is revoked; a running server ends its clients within a second"));
        }
    }
    Ok(())
}

/// Shows what nobody can be shown again.
fn show(secret: &str, name: String, console: Console) -> Result<(), Failure> {
    console.line(secret);
    console.written().map_err(|source| Failure::SecretLost { name, source })
}

/// What to do with it. Not on a command line, where others can see it: `login` asks for it.
fn login(data: &Path) -> String {
    match Facts::load(data).unwrap_or(Facts::new(true)).login {
        Some(server) => format!("on the laptop, this asks for it: tunnel login {server}"),
        None => "on the laptop, this asks for it: tunnel login HOST:PORT, where the server is then".into(),
    }
}

fn list(all: &[Token], json: bool, console: Console) {
    if json {
        let all: Vec<_> = all.iter().map(output::json).collect();
        return console.line(&serde_json::Value::from(all).to_string());
    }
    all.iter().for_each(|token| console.line(&output::line(token)));
}
