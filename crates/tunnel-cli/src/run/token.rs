//! `tunnel token`: on the server's machine, with or without a running server.

use std::time::SystemTime;

use super::Failure;
use crate::{
    args::{TokenArgs, TokenCommand},
    output::Console,
    state::{facts::Facts, identity, places, tokens::TokenFile},
};

/// Makes, lists or revokes.
pub(super) fn run(args: TokenArgs, console: Console) -> Result<(), Failure> {
    let data = places::server_data(args.data_dir)?;
    let tokens = TokenFile::new(&data);
    match args.command {
        TokenCommand::Create { name } => {
            let pin = match Facts::load(&data)?.pin {
                true => Some(identity::load_or_make(&data, &["localhost".into()])?.pin()),
                false => None,
            };
            let token = tokens.create(&name, pin, SystemTime::now())?;
            // Alone on its line and on standard output: scripts take it from there.
            console.line(&token.expose());
            console.remark("shown this once; on the laptop: tunnel login HOST:4444 --token TOKEN");
        }
        TokenCommand::List => {
            let all = tokens.list()?;
            for record in &all {
                console.line(&format!("{}  {}  {}", record.id, record.created, record.name));
            }
            if all.is_empty() {
                console
                    .remark(&format!("no tokens in {}; make one: tunnel token create NAME", data.display()));
            }
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
