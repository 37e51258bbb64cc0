//! The seam to whatever keeps tokens, reservations, usage and the audit log.

use std::{fmt, net::IpAddr, time::Duration};

use crate::model::{
    AuditEntry, AuditPage, IssuedToken, NewToken, Reservation, RightsChanges, Token, TokenInFull,
    TokenRights, Usage,
};

/// Keeps what a server remembers. Its methods may wait for a disk: they are called on threads where that is allowed.
///
/// Whatever changes something writes an entry into the audit log itself, with `by` as who did it; [`Tokens::note`] is
/// for deeds that change nothing here.
pub trait Tokens: Send + Sync + 'static {
    /// Whether there is anything behind this: a server that lets in anybody has no use for tokens.
    fn are_kept(&self) -> bool {
        true
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// [`TokensError`]
    fn tokens(&self) -> Result<Vec<Token>, TokensError>;

    /// One token, with all that is known of it.
    ///
    /// # Errors
    /// [`TokensError::Unknown`], or the store's failure.
    fn token(&self, name: &str) -> Result<TokenInFull, TokensError>;

    /// Makes a token. Its secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`TokensError::Exists`], [`TokensError::Invalid`], [`TokensError::Misnamed`], or the store's failure.
    fn create_token(&self, by: &Actor, new: &NewToken) -> Result<IssuedToken, TokensError>;

    /// Gives a token these rights and no others. Open sessions feel it at once.
    ///
    /// # Errors
    /// [`TokensError::Unknown`], [`TokensError::Invalid`], or the store's failure.
    fn set_rights(&self, by: &Actor, name: &str, rights: &TokenRights) -> Result<Token, TokensError>;

    /// Gives a token some rights and takes others, in one step. Open sessions feel it at once.
    ///
    /// # Errors
    /// [`TokensError::Unknown`], [`TokensError::Invalid`], or the store's failure.
    fn change_rights(&self, by: &Actor, name: &str, changes: &RightsChanges) -> Result<Token, TokensError>;

    /// Ends a token, and its sessions with it.
    ///
    /// # Errors
    /// [`TokensError::Unknown`], or the store's failure.
    fn revoke_token(&self, by: &Actor, name: &str) -> Result<(), TokensError>;

    /// Gives a token a new secret; the former one is taken for `grace` as well, and worth nothing after that.
    ///
    /// # Errors
    /// [`TokensError::Unknown`], or the store's failure.
    fn rotate_token(&self, by: &Actor, name: &str, grace: Duration) -> Result<IssuedToken, TokensError>;

    /// All reservations, by name.
    ///
    /// # Errors
    /// [`TokensError`]
    fn reservations(&self) -> Result<Vec<Reservation>, TokensError>;

    /// Keeps a name or a port for a token.
    ///
    /// # Errors
    /// [`TokensError::Unknown`] token, [`TokensError::Exists`], [`TokensError::Invalid`], or the store's failure.
    fn reserve(&self, by: &Actor, reservation: &Reservation) -> Result<(), TokensError>;

    /// Gives a reserved name or port up.
    ///
    /// # Errors
    /// [`TokensError::Unknown`], or the store's failure.
    fn release(&self, by: &Actor, name: &str) -> Result<(), TokensError>;

    /// What each token used in a month (`2026-11`, in UTC); without one, in the present month.
    ///
    /// # Errors
    /// [`TokensError`]
    fn usage(&self, month: Option<&str>) -> Result<Vec<Usage>, TokensError>;

    /// A page of the audit log, newest first.
    ///
    /// # Errors
    /// [`TokensError`]
    fn audit(&self, page: &AuditPage) -> Result<Vec<AuditEntry>, TokensError>;

    /// Writes a deed of the admin API's own into the audit log.
    ///
    /// # Errors
    /// [`TokensError`]
    fn note(&self, by: &Actor, deed: &Deed) -> Result<(), TokensError>;
}

/// Why nothing was done. What has a text is told in it, in one line, together with what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// There is no token or reservation of this name.
    #[error("{0}")]
    Unknown(String),
    /// The name is taken.
    #[error("{0}")]
    Exists(String),
    /// A token can't have such a name.
    #[error("{0}")]
    Misnamed(String),
    /// Something asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// This server keeps no tokens.
    #[error("this server keeps no tokens: it runs with --auth none")]
    NotKept,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Who asks for something, as the audit log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Actor {
    /// Somebody at the command line of a server's machine, while no server runs.
    Command,
    /// A program that may open the admin socket, of this user of the machine.
    Socket {
        /// The user's number.
        uid: u32,
    },
    /// Somebody signed in at the dashboard.
    Dashboard {
        /// From here.
        address: IpAddr,
    },
    /// A program that shows the admin token.
    Program {
        /// From here.
        address: IpAddr,
    },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => f.write_str("command"),
            Self::Socket { uid } => write!(f, "socket, uid {uid}"),
            Self::Dashboard { address } => write!(f, "dashboard, {address}"),
            Self::Program { address } => write!(f, "admin token, {address}"),
        }
    }
}

/// Something done through the admin API that is to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What: `session-kicked`, `tunnel-closed`, `signed-in`, …
    pub what: &'static str,
    /// To whom or what: a session, a URL; empty if there is nothing to name.
    pub about: String,
    /// More, for people; may be empty.
    pub detail: String,
}

/// For a server that keeps no tokens: there is nothing to list, and nothing can be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTokens;

impl Tokens for NoTokens {
    fn are_kept(&self) -> bool {
        false
    }

    fn token(&self, _name: &str) -> Result<TokenInFull, TokensError> {
        Err(TokensError::NotKept)
    }

    fn change_rights(
        &self,
        _by: &Actor,
        _name: &str,
        _changes: &RightsChanges,
    ) -> Result<Token, TokensError> {
        Err(TokensError::NotKept)
    }

    fn tokens(&self) -> Result<Vec<Token>, TokensError> {
        Ok(Vec::new())
    }

    fn create_token(&self, _by: &Actor, _new: &NewToken) -> Result<IssuedToken, TokensError> {
        Err(TokensError::NotKept)
    }

    fn set_rights(&self, _by: &Actor, _name: &str, _rights: &TokenRights) -> Result<Token, TokensError> {
        Err(TokensError::NotKept)
    }

    fn revoke_token(&self, _by: &Actor, _name: &str) -> Result<(), TokensError> {
        Err(TokensError::NotKept)
    }

    fn rotate_token(&self, _by: &Actor, _name: &str, _grace: Duration) -> Result<IssuedToken, TokensError> {
        Err(TokensError::NotKept)
    }

    fn reservations(&self) -> Result<Vec<Reservation>, TokensError> {
        Ok(Vec::new())
    }

    fn reserve(&self, _by: &Actor, _reservation: &Reservation) -> Result<(), TokensError> {
        Err(TokensError::NotKept)
    }

    fn release(&self, _by: &Actor, _name: &str) -> Result<(), TokensError> {
        Err(TokensError::NotKept)
    }

    fn usage(&self, _month: Option<&str>) -> Result<Vec<Usage>, TokensError> {
        Ok(Vec::new())
    }

    fn audit(&self, _page: &AuditPage) -> Result<Vec<AuditEntry>, TokensError> {
        Ok(Vec::new())
    }

    fn note(&self, by: &Actor, deed: &Deed) -> Result<(), TokensError> {
        tracing::info!(%by, what = deed.what, about = %deed.about, detail = %deed.detail, "admin");
        Ok(())
    }
}
