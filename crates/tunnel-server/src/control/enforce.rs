//! What holds for tokens whether their clients are there or not: reserved names, names that are held for somebody who
//! is away, and what all tunnels of a token may carry together. One task of the server's.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use tracing::info;
use tunnel_protocol::{ServerMessage, TokenId};
use tunnel_router::{HostPattern, Hostname};

use super::{
    Control,
    asker::Asker,
    standing::{self, INTERVAL, Standing},
};
use crate::{
    auth::Identity,
    calendar::{self, Month},
    rights::{Reservations, ReservedName, Rights},
};

/// Keeps everything in accord with what tokens may do now. Never returns.
///
/// # Cancel safety
/// Cancel safe; [`charge`] then has the last word.
pub(crate) async fn keep(control: Control) {
    let mut moved = control.authenticator.changes();
    let mut reserved: Option<Arc<Reservations>> = None;
    let mut spent = HashSet::new();
    loop {
        let now = control.authenticator.reservations();
        if reserved.as_ref().is_none_or(|reserved| !Arc::ptr_eq(reserved, &now)) {
            reserve(&control, reserved.as_deref(), &now);
            reserved = Some(now);
        }
        review(&control);
        charge(&control);
        tell_who_is_spent(&control, &mut spent);
        standing::look_again(&mut moved, Some(INTERVAL)).await;
    }
}

/// Tells whoever keeps the books what was used since it heard last.
pub(crate) fn charge(control: &Control) {
    let authenticator = &control.authenticator;
    for (token, account) in control.shared.accounts.all() {
        account.settle(|used| authenticator.charge(token, used), || authenticator.used_this_month(token));
    }
}

/// Lets a token use what it has a right to from now on, and no more.
pub(super) fn allow(control: &Control, token: TokenId, rights: &Rights) {
    let (authenticator, account) = (&control.authenticator, control.shared.accounts.of(token));
    account.allowance().set(rights);
    account.settle(|used| authenticator.charge(token, used), || authenticator.used_this_month(token));
}

/// A reserved name is shown nobody else's wildcard, also while its owner doesn't use it.
fn reserve(control: &Control, former: Option<&Reservations>, reservations: &Reservations) {
    let domain = control.shared.config().domain.clone();
    let host = |name: &ReservedName| match name {
        ReservedName::Subdomain(label) => Hostname::under(label, &domain).ok().map(HostPattern::Exact),
        ReservedName::Host(host) => Some(host.clone()),
        ReservedName::Tcp(_) | ReservedName::Udp(_) => None,
    };
    let routes = &control.shared.routes;
    let former = former.into_iter().flat_map(Reservations::iter);
    let released = former.filter(|(name, _)| reservations.get(name).is_none());
    released.filter_map(|(name, _)| host(name)).for_each(|host| routes.set_reserved(&host, false));
    let reserved = reservations.iter().filter_map(|(name, _)| host(name));
    reserved.for_each(|host| routes.set_reserved(&host, true));
}

/// Takes names back from those who have lost them; what is in use, its session gives up by itself, and says so.
fn review(control: &Control) {
    let mut standings: HashMap<Identity, Option<Standing>> = HashMap::new();
    for (name, owner, is_served) in control.registry.owners() {
        let standing = standings.entry(owner.clone()).or_insert_with(|| {
            let standing = standing::of(control, &owner);
            match &standing {
                Ok(standing) => allow(control, owner.token, &standing.rights),
                Err(out) if out.is_final => control.registry.revoke(owner.token),
                Err(_) => {}
            }
            standing.ok()
        });
        let Some(standing) = standing.as_ref().filter(|_| !is_served) else { continue };
        let asker = Asker { identity: &owner, standing, domain: control.shared.config().domain.clone() };
        let is_surplus =
            standing.rights.max_tunnels.is_some_and(|max| control.registry.is_surplus(&name, max));
        if is_surplus || asker.check(&name).is_err() {
            info!(?name, owner = %owner.name, "no longer held: its owner may not have it any more");
            control.registry.take_held(&name, owner.token);
        }
    }
}

/// Tells clients once that their token's bytes of this month are used up.
fn tell_who_is_spent(control: &Control, told: &mut HashSet<TokenId>) {
    for (token, account) in control.shared.accounts.all() {
        if !account.is_spent() {
            told.remove(&token);
        } else if told.insert(token) {
            let sessions = control.sessions.all().into_iter();
            for session in sessions.filter(|session| session.identity.token == token) {
                let message = spent(&session.identity.name);
                info!(session.id = %session.id, %message);
                session.send(ServerMessage::Notice { message });
            }
        }
    }
}

/// What an owner hears whose visitors are refused.
pub(super) fn spent(name: &str) -> String {
    let until = calendar::date(Month::of(SystemTime::now()).end());
    format!(
        "the token `{name}` has moved as many bytes this month as it may: visitors are refused until {until} (UTC), or \
         until the operator allows more: tunnel token edit {name} --monthly-bytes BYTES"
    )
}
