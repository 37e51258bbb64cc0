//! The server's store, as the admin API asks for it: two models of tokens that know nothing of each other meet here.

use std::{
    collections::HashMap,
    fmt::Display,
    str::FromStr,
    time::{Duration, SystemTime},
};

use tokio::runtime::Handle;
use tunnel_admin::{
    Actor, ActorRecord, AuditEntry, AuditPage, Deed, IssuedToken, NewToken, Reservation, Stamp, Token,
    TokenRights, Tokens, TokensError, Usage,
};
use tunnel_server::{PortSet, ReservedName, Rights};
use tunnel_store::{Month, Store, TokenRecord, WriteError};

/// The store, for threads that may wait for a disk.
pub(super) struct Keeper {
    store: Store,
    /// What tokens of this server carry of its key.
    pin: Option<[u8; 32]>,
    runtime: Handle,
}

impl Keeper {
    /// Must be made within the runtime that the store's callers wait in.
    pub(super) fn new(store: Store, pin: Option<[u8; 32]>) -> Self {
        Self { store, pin, runtime: Handle::current() }
    }

    fn record(&self, name: &str) -> Result<Token, TokensError> {
        Ok(token(&*self.store.known(name).map_err(refused)?))
    }

    fn issued(&self, name: &str, secret: &tunnel_protocol::Token) -> Result<IssuedToken, TokensError> {
        Ok(IssuedToken { token: self.record(name)?, secret: secret.expose() })
    }
}

impl Tokens for Keeper {
    fn tokens(&self) -> Result<Vec<Token>, TokensError> {
        let mut tokens: Vec<_> = self.store.tokens().iter().map(|record| token(record)).collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tokens)
    }

    fn create_token(&self, by: &Actor, new: &NewToken) -> Result<IssuedToken, TokensError> {
        let made =
            tunnel_store::NewToken { name: new.name.clone(), rights: rights(&new.rights)?, pin: self.pin };
        let secret = self.runtime.block_on(self.store.create(made, actor(by))).map_err(refused)?;
        self.issued(&new.name, &secret)
    }

    fn set_rights(&self, by: &Actor, name: &str, wanted: &TokenRights) -> Result<Token, TokensError> {
        let set = self.store.set_rights(name, rights(wanted)?, actor(by));
        Ok(token(&*self.runtime.block_on(set).map_err(refused)?))
    }

    fn revoke_token(&self, by: &Actor, name: &str) -> Result<(), TokensError> {
        self.runtime.block_on(self.store.revoke(name, actor(by))).map_err(refused)
    }

    fn rotate_token(&self, by: &Actor, name: &str, grace: Duration) -> Result<IssuedToken, TokensError> {
        let rotated = self.store.rotate(name, grace, self.pin, actor(by));
        let secret = self.runtime.block_on(rotated).map_err(refused)?;
        self.issued(name, &secret)
    }

    fn reservations(&self) -> Result<Vec<Reservation>, TokensError> {
        let reserved = self.store.reserved().into_iter().map(|reserved| Reservation {
            name: reserved.name.to_string(),
            token: reserved.token_name.to_string(),
            since: Some(Stamp(reserved.created)),
        });
        Ok(reserved.collect())
    }

    fn reserve(&self, by: &Actor, wanted: &Reservation) -> Result<(), TokensError> {
        let name = reserved_name(&wanted.name)?;
        self.runtime.block_on(self.store.reserve(name, &wanted.token, actor(by))).map_err(refused)
    }

    fn release(&self, by: &Actor, name: &str) -> Result<(), TokensError> {
        self.runtime.block_on(self.store.release(reserved_name(name)?, actor(by))).map_err(refused)
    }

    fn usage(&self, month: Option<&str>) -> Result<Vec<Usage>, TokensError> {
        let month = match month {
            Some(text) => text.parse::<Month>().map_err(|_| {
                TokensError::Invalid(format!("`{}` isn't a month such as 2026-11", text.escape_default()))
            })?,
            None => Month::of(SystemTime::now()),
        };
        let used = self.runtime.block_on(self.store.usage_in(month)).map_err(refused)?;
        let used: HashMap<_, _> = used.into_iter().collect();
        let of_token = |record: &TokenRecord| {
            let used = used.get(&record.id).copied().unwrap_or_default();
            Usage {
                token: record.name.to_string(),
                month: month.to_string(),
                bytes_in: used.received,
                bytes_out: used.sent,
                requests: used.requests,
                connections: used.connections,
                monthly_bytes: record.rights.monthly_bytes,
            }
        };
        Ok(self.store.tokens().iter().map(|record| of_token(record)).collect())
    }

    fn audit(&self, page: &AuditPage) -> Result<Vec<AuditEntry>, TokensError> {
        let before = page.before.map(|before| i64::try_from(before).unwrap_or(i64::MAX));
        let limit = page.limit.unwrap_or(AuditPage::USUAL);
        let entries = self.runtime.block_on(self.store.audit(before, limit)).map_err(refused)?;
        let entries = entries.into_iter().map(|entry| AuditEntry {
            id: u64::try_from(entry.id).unwrap_or_default(),
            at: Stamp(entry.at),
            by: ActorRecord(entry.actor),
            what: entry.action,
            about: entry.subject,
            detail: entry.detail,
        });
        Ok(entries.collect())
    }

    fn note(&self, by: &Actor, deed: &Deed) -> Result<(), TokensError> {
        self.store.note(&actor(by), deed.what, &deed.about, &deed.detail);
        Ok(())
    }
}

fn actor(by: &Actor) -> tunnel_store::Actor {
    tunnel_store::Actor::Admin(by.to_string())
}

fn token(record: &TokenRecord) -> Token {
    let rights = &record.rights;
    Token {
        id: record.id.to_string(),
        name: record.name.to_string(),
        created: Some(Stamp(record.created)),
        rotated: record.rotated.map(Stamp),
        rights: TokenRights {
            subdomains: texts(&rights.subdomains),
            domains: texts(&rights.domains),
            kinds: texts(&rights.kinds),
            tcp_ports: port_texts(rights.tcp_ports.as_ref()),
            udp_ports: port_texts(rights.udp_ports.as_ref()),
            max_tunnels: rights.max_tunnels.map(u64::from),
            max_connections: rights.max_connections.map(u64::from),
            bandwidth: rights.bandwidth,
            monthly_bytes: rights.monthly_bytes,
            expires: rights.expires.map(Stamp),
        },
        sessions: 0,
    }
}

fn rights(wanted: &TokenRights) -> Result<Rights, TokensError> {
    Ok(Rights {
        subdomains: parsed("subdomain", &wanted.subdomains)?,
        domains: parsed("domain", &wanted.domains)?,
        kinds: parsed("kind", &wanted.kinds)?,
        tcp_ports: ports(&wanted.tcp_ports)?,
        udp_ports: ports(&wanted.udp_ports)?,
        max_tunnels: number(wanted.max_tunnels)?,
        max_connections: number(wanted.max_connections)?,
        bandwidth: wanted.bandwidth,
        monthly_bytes: wanted.monthly_bytes,
        expires: wanted.expires.map(|stamp| stamp.0),
        ..Rights::default()
    })
}

fn texts(things: &[impl Display]) -> Vec<String> {
    things.iter().map(ToString::to_string).collect()
}

fn port_texts(ports: Option<&PortSet>) -> Vec<String> {
    ports.map_or_else(Vec::new, |ports| ports.to_string().split(',').map(str::to_owned).collect())
}

fn parsed<T: FromStr<Err: Display>>(what: &str, texts: &[String]) -> Result<Vec<T>, TokensError> {
    let parse = |text: &String| {
        text.parse().map_err(|why| {
            TokensError::Invalid(format!("the {what} `{}` can't be had: {why}", text.escape_default()))
        })
    };
    texts.iter().map(parse).collect()
}

/// None named: all.
fn ports(texts: &[String]) -> Result<Option<PortSet>, TokensError> {
    if texts.is_empty() {
        return Ok(None);
    }
    let ports = texts.join(",");
    ports.parse().map(Some).map_err(|why| {
        TokensError::Invalid(format!("the ports `{}` can't be had: {why}", ports.escape_default()))
    })
}

fn number(wanted: Option<u64>) -> Result<Option<u32>, TokensError> {
    let narrow = |wanted| {
        u32::try_from(wanted)
            .map_err(|_| TokensError::Invalid(format!("{wanted} is more than can be counted")))
    };
    wanted.map(narrow).transpose()
}

fn reserved_name(text: &str) -> Result<ReservedName, TokensError> {
    text.parse()
        .map_err(|why| TokensError::Invalid(format!("`{}` can't be reserved: {why}", text.escape_default())))
}

fn refused(error: WriteError) -> TokensError {
    match error {
        WriteError::UnknownToken { name, .. } => TokensError::Unknown { what: "token", name },
        WriteError::Exists(name) => TokensError::Exists { what: "token", name },
        WriteError::NotReserved(name) => TokensError::Unknown { what: "reservation", name },
        WriteError::Name
        | WriteError::NoRight { .. }
        | WriteError::LastRight(_)
        | WriteError::UnreadableRights { .. }
        | WriteError::Reserved { .. } => TokensError::Invalid(error.to_string()),
        error => TokensError::Store(error.into()),
    }
}

#[cfg(test)]
mod tests;
