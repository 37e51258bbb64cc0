//! Who is let in: the seam to whatever keeps the tokens.

use std::{fmt, sync::Arc, time::SystemTime};

use tokio::sync::watch;
use tunnel_protocol::{InstanceId, Secret, TokenHash, TokenId, login::Credential, proof};

use crate::{
    rights::{Reservations, Rights},
    usage::Usage,
};

/// Whom a token stands for. Names and ports are leased to identities, never to connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The token that was shown; all zero with [`AllowAll`].
    pub token: TokenId,
    /// What the operator calls it.
    pub name: Arc<str>,
    /// Which of its secrets was shown: 0 the first, and one more each time it was replaced. Who came in by one that
    /// counts no longer has to go.
    pub generation: u32,
}

/// What a client showed, and what it must be checked against.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// What the client showed.
    pub credential: &'a Credential,
    /// The nonce it was given to prove its token with (plaintext connections only).
    pub nonce: Option<&'a [u8; 32]>,
    /// Which installation of the client it is.
    pub instance: &'a InstanceId,
}

/// Decides who is let in. Called once per control connection, before any multiplexer runs for it.
///
/// An answer must take the same time for an unknown token and for a wrong secret, and must not block: the store
/// is expected in memory.
pub trait Authenticator: Send + Sync + 'static {
    /// The identity behind the credential, or `None`. There is no difference between an unknown token and a wrong
    /// one.
    fn authenticate(&self, login: Login<'_>) -> Option<Identity>;

    /// What an identity that was let in earlier may do now; `None` if it may not even stay. Asked at every bind, and
    /// whenever something changed, so that a revoked token ends its sessions, and a right that was taken away the
    /// tunnels that need it.
    fn rights(&self, identity: &Identity) -> Option<Arc<Rights>>;

    /// What is set aside for one token each. None, unless an implementation says otherwise.
    fn reservations(&self) -> Arc<Reservations> {
        Arc::default()
    }

    /// Moves whenever rights or reservations may have changed, and at once. Without it (the default) they are asked
    /// for every second.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Whether an identity that may not stay is only one that showed a secret which was replaced since: its token's
    /// names are still its token's. Without it (the default), its token is gone.
    fn has_new_secret(&self, identity: &Identity) -> bool {
        let _ = identity;
        false
    }

    /// Hears what a token's visitors used since it heard last: every second, and at the end. Without it (the default)
    /// nothing is kept, and [`Rights::monthly_bytes`] counts from the server's start.
    fn charge(&self, token: TokenId, used: Usage) {
        let _ = (token, used);
    }

    /// How many bytes a token's visitors moved this month (UTC) by what was charged, here and before, both ways
    /// together; `None` (the default) if nobody knows.
    fn used_this_month(&self, token: TokenId) -> Option<u64> {
        let _ = token;
        None
    }
}

/// One token as a server stores it.
#[derive(Clone)]
pub struct StoredToken {
    /// The public part.
    pub id: TokenId,
    /// What the operator calls it.
    pub name: Arc<str>,
    /// The hash of the secret part.
    pub hash: TokenHash,
    /// What it may do.
    pub rights: Arc<Rights>,
    /// How often its secret was replaced.
    pub generation: u32,
    /// The secret before this one, and until when it is taken as well.
    pub former: Option<(TokenHash, SystemTime)>,
}

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredToken").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl StoredToken {
    /// A token whose secret was never replaced.
    pub fn new(id: TokenId, name: impl Into<Arc<str>>, hash: TokenHash, rights: Arc<Rights>) -> Self {
        Self { id, name: name.into(), hash, rights, generation: 0, former: None }
    }

    /// Who `login` is, if it shows this token.
    fn identify(&self, login: Login<'_>) -> Option<Identity> {
        let generation = if admits(&self.hash, login) {
            self.generation
        } else {
            let (former, until) = self.former?;
            let is_taken = admits(&former, login) && SystemTime::now() < until;
            is_taken.then(|| self.generation.saturating_sub(1))?
        };
        Some(Identity { token: self.id, name: self.name.clone(), generation })
    }

    /// What an identity of this token may do; `None` if the secret that it showed is taken no longer.
    pub fn rights_of(&self, identity: &Identity) -> Option<Arc<Rights>> {
        let is_former = identity.generation.checked_add(1) == Some(self.generation)
            && self.former.is_some_and(|(_, until)| SystemTime::now() < until);
        (identity.generation == self.generation || is_former).then(|| self.rights.clone())
    }
}

/// Checks `login` against the token found by its public id, spending the same time when there is none.
///
/// Whoever implements an [`Authenticator`] over a store of its own finds the token and calls this.
pub fn check(found: Option<&StoredToken>, login: Login<'_>) -> Option<Identity> {
    let Some(token) = found else {
        admits(&TokenHash::of(&Secret::new([0; 24])), login);
        return None;
    };
    token.identify(login)
}

/// The public id a credential names, if it names one.
pub fn token_id(credential: &Credential) -> Option<TokenId> {
    match credential {
        Credential::Token { id, .. } | Credential::Proof { id, .. } => Some(*id),
        _ => None,
    }
}

fn admits(hash: &TokenHash, login: Login<'_>) -> bool {
    match (login.credential, login.nonce) {
        (Credential::Token { secret, .. }, None) => hash.matches(secret),
        (Credential::Proof { mac, .. }, Some(nonce)) => proof::verify(hash, nonce, login.instance, mac),
        // A bare token on a plaintext connection was readable by anyone on the way: never accept one.
        _ => false,
    }
}

/// A fixed list of tokens: for embedders and tests.
#[derive(Clone, Debug, Default)]
pub struct TokenList(pub Vec<StoredToken>);

impl Authenticator for TokenList {
    fn authenticate(&self, login: Login<'_>) -> Option<Identity> {
        let id = token_id(login.credential);
        check(self.0.iter().find(|token| Some(token.id) == id), login)
    }

    fn rights(&self, identity: &Identity) -> Option<Arc<Rights>> {
        self.0.iter().find(|token| token.id == identity.token)?.rights_of(identity)
    }
}

/// Lets everyone in as one identity: for demos on loopback, and nothing else.
///
/// It may publish every domain, as there is nobody else whose domain that could be, but none of the reserved names:
/// those are the operator's also where everyone is welcome.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authenticator for AllowAll {
    fn authenticate(&self, _login: Login<'_>) -> Option<Identity> {
        Some(Identity { token: TokenId([0; 8]), name: "anyone".into(), generation: 0 })
    }

    fn rights(&self, _identity: &Identity) -> Option<Arc<Rights>> {
        Some(Arc::new(Rights { any_domain: true, ..Rights::default() }))
    }
}

#[cfg(test)]
mod tests {
    use tunnel_protocol::Token;

    use super::*;

    #[test]
    fn a_token_is_taken_in_the_form_that_fits_the_connection_and_in_no_other() {
        let token = Token::new([7; 32], None);
        let list = TokenList(vec![StoredToken::new(token.id(), "ci", token.hash(), Arc::default())]);
        let instance = InstanceId([1; 16]);
        let nonce = [3; 32];
        let bare = Credential::Token { id: token.id(), secret: token.secret().clone() };
        let wrong = Credential::Token { id: token.id(), secret: Secret::new([9; 24]) };
        let unknown = Credential::Token { id: TokenId([9; 8]), secret: token.secret().clone() };
        let proof = Credential::Proof { id: token.id(), mac: proof::prove(&token.hash(), &nonce, &instance) };
        for (credential, nonce, admitted) in [
            (&bare, None, true),
            (&wrong, None, false),
            (&unknown, None, false),
            (&Credential::Anonymous, None, false),
            (&proof, Some(&nonce), true),
            (&proof, Some(&[4; 32]), false),
            (&proof, None, false),
            (&bare, Some(&nonce), false),
        ] {
            let identity = list.authenticate(Login { credential, nonce, instance: &instance });
            assert_eq!(identity.is_some(), admitted, "{credential:?} with nonce {}", nonce.is_some());
        }
    }
}
