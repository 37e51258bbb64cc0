//! `tunnel token`: on the server's machine, with or without a running server.

use std::time::SystemTime;

use super::Failure;
use crate::{
    args::{RightsArgs, TokenArgs, TokenCommand},
    output::Console,
    state::{
        facts::Facts,
        identity, places,
        tokens::{Names, Record, TokenFile},
    },
};

/// Makes, lists, changes or revokes.
pub(super) fn run(args: TokenArgs, console: Console) -> Result<(), Failure> {
    let data = places::server_data(args.data_dir)?;
    let tokens = TokenFile::new(&data);
    match args.command {
        TokenCommand::Create { name, rights } => {
            let pin = match Facts::load(&data)?.pin {
                true => Some(identity::load_or_make(&data, &["localhost".into()])?.pin()),
                false => None,
            };
            let token = tokens.create(&name, &rights.into(), pin, SystemTime::now())?;
            // Alone on its line and on standard output: scripts take it from there.
            console.line(&token.expose());
            console.remark("shown this once; on the laptop: tunnel login HOST:4444 --token TOKEN");
        }
        TokenCommand::List => {
            let all = tokens.list()?;
            for record in &all {
                console.line(&line(record));
            }
            if all.is_empty() {
                console
                    .remark(&format!("no tokens in {}; make one: tunnel token create NAME", data.display()));
            }
        }
        TokenCommand::Edit { name, rights, remove_subdomain, remove_domain } => {
            let take = Names { subdomains: remove_subdomain, domains: remove_domain };
            let record = tokens.edit(&name, &rights.into(), &take)?;
            console.line(&line(&record));
            console.remark("a running server follows within two seconds");
        }
        TokenCommand::Revoke { name } => {
            tokens.revoke(&name)?;
            console.remark(&format!(
                "`{name}` is revoked; a running server ends its clients within two seconds"
            ));
        }
    }
    Ok(())
}

/// A token as it is listed: what it may publish comes last, if anything was said of that.
fn line(record: &Record) -> String {
    let mut line = format!("{}  {}  {}", record.id, record.created, record.name);
    for (what, names) in [("subdomains", &record.subdomains), ("domains", &record.domains)] {
        if !names.is_empty() {
            line += &format!("  {what}: {}", names.join(", "));
        }
    }
    line
}

impl From<RightsArgs> for Names {
    fn from(args: RightsArgs) -> Self {
        Self { subdomains: args.subdomain, domains: args.domain }
    }
}
