//! What a server remembers, for commands: asked of the server that runs on a data directory, and read and written there
//! where none runs.
//!
//! Asked, the server heeds a change before it answers, and notes down which user of the machine made it. What is
//! answered is the same in both ways, since a [`Keeper`] is behind both.

use std::{path::Path, time::Duration};

use tokio::task::spawn_blocking;
use tunnel_admin::{
    Actor, IssuedToken, NewToken, Reservation, RightsChanges, Token, TokenInFull, Tokens, TokensError,
};
use tunnel_server::Hostname;
use tunnel_store::Store;

use super::{Failure, keeper::Keeper};
use crate::state::{facts::Facts, identity, store};

/// The tokens and reservations of one data directory.
pub(super) struct Books {
    way: Way,
}

enum Way {
    /// A server runs.
    #[cfg(unix)]
    Server(tunnel_admin::AdminClient),
    /// None does, or one that keeps no tokens.
    Directory { store: Store, data: std::path::PathBuf },
}

impl Books {
    /// Those of a data directory, which is made if it isn't there.
    pub(super) async fn open(data: &Path) -> Result<Self, Failure> {
        #[cfg(unix)]
        if let Some(server) = server(data).await? {
            return Ok(Self { way: Way::Server(server) });
        }
        Ok(Self { way: Way::Directory { store: store::open(data)?, data: data.to_owned() } })
    }

    /// All tokens, in the order they were made.
    pub(super) async fn tokens(&self) -> Result<Vec<Token>, Failure> {
        let mut tokens = match &self.way {
            #[cfg(unix)]
            Way::Server(server) => {
                let list: tunnel_admin::TokenList = server.get("/api/v1/tokens").await.map_err(refused)?;
                list.tokens
            }
            Way::Directory { store, .. } => at(store, Known::default(), |keeper| keeper.tokens()).await?,
        };
        tokens.sort_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name)));
        Ok(tokens)
    }

    pub(super) async fn token(&self, name: String) -> Result<TokenInFull, Failure> {
        match &self.way {
            #[cfg(unix)]
            Way::Server(server) => server.get(&path("tokens", &name)).await.map_err(refused),
            Way::Directory { store, .. } => {
                at(store, Known::default(), move |keeper| keeper.token(&name)).await
            }
        }
    }

    pub(super) async fn create(&self, new: NewToken) -> Result<IssuedToken, Failure> {
        match &self.way {
            #[cfg(unix)]
            Way::Server(server) => server.post("/api/v1/tokens", &new).await.map_err(refused),
            Way::Directory { store, data } => {
                at(store, Known { pin: pin(data)?, ..Known::default() }, move |keeper| {
                    keeper.create_token(&Actor::Command, &new)
                })
                .await
            }
        }
    }

    pub(super) async fn change(&self, name: String, changes: RightsChanges) -> Result<Token, Failure> {
        match &self.way {
            #[cfg(unix)]
            Way::Server(server) => {
                let path = path("tokens", &name) + "/rights";
                server.patch(&path, &changes).await.map_err(refused)
            }
            Way::Directory { store, .. } => {
                at(store, Known::default(), move |keeper| {
                    keeper.change_rights(&Actor::Command, &name, &changes)
                })
                .await
            }
        }
    }

    pub(super) async fn rotate(&self, name: String, grace: Duration) -> Result<IssuedToken, Failure> {
        match &self.way {
            #[cfg(unix)]
            Way::Server(server) => {
                let rotation =
                    tunnel_admin::Rotation { grace_s: u32::try_from(grace.as_secs()).unwrap_or(u32::MAX) };
                server.post(&(path("tokens", &name) + "/rotate"), &rotation).await.map_err(refused)
            }
            Way::Directory { store, data } => {
                at(store, Known { pin: pin(data)?, ..Known::default() }, move |keeper| {
                    keeper.rotate_token(&Actor::Command, &name, grace)
                })
                .await
            }
        }
    }

    pub(super) async fn revoke(&self, name: String) -> Result<(), Failure> {
        match &self.way {
            #[cfg(unix)]
            Way::Server(server) => server.delete(&path("tokens", &name)).await.map_err(refused),
            Way::Directory { store, .. } => {
                at(store, Known::default(), move |keeper| keeper.revoke_token(&Actor::Command, &name)).await
            }
        }
    }

    /// All reservations, by name.
    pub(super) async fn reservations(&self) -> Result<Vec<Reservation>, Failure> {
        match &self.way {
            #[cfg(unix)]
            Way::Server(server) => {
                let list: tunnel_admin::ReservationList =
                    server.get("/api/v1/reservations").await.map_err(refused)?;
                Ok(list.reservations)
            }
            Way::Directory { store, .. } => at(store, Known::default(), |keeper| keeper.reservations()).await,
        }
    }

    pub(super) async fn reserve(&self, reservation: Reservation) -> Result<(), Failure> {
        match &self.way {
            #[cfg(unix)]
            Way::Server(server) => server.post("/api/v1/reservations", &reservation).await.map_err(refused),
            Way::Directory { store, data } => {
                let known = Known { domain: Facts::load(data)?.domain(), ..Known::default() };
                at(store, known, move |keeper| keeper.reserve(&Actor::Command, &reservation)).await
            }
        }
    }

    pub(super) async fn release(&self, name: String) -> Result<(), Failure> {
        match &self.way {
            #[cfg(unix)]
            Way::Server(server) => server.delete(&path("reservations", &name)).await.map_err(refused),
            Way::Directory { store, .. } => {
                at(store, Known::default(), move |keeper| keeper.release(&Actor::Command, &name)).await
            }
        }
    }
}

/// The server that runs on a data directory and keeps tokens. A socket that nobody answers at is no server.
#[cfg(unix)]
async fn server(data: &Path) -> Result<Option<tunnel_admin::AdminClient>, Failure> {
    let client = tunnel_admin::AdminClient::new(&data.join(super::ask::SOCKET));
    match client.get::<tunnel_admin::Status>("/api/v1/status").await {
        Ok(status) => Ok(status.keeps_tokens.then_some(client)),
        Err(tunnel_admin::ClientError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What is known of the server besides its store, as far as a question needs it.
#[derive(Default)]
struct Known {
    pin: Option<[u8; 32]>,
    domain: Option<Hostname>,
}

/// Has the store asked, where waiting for a disk holds nobody up.
async fn at<T: Send + 'static>(
    store: &Store,
    known: Known,
    question: impl FnOnce(&Keeper) -> Result<T, TokensError> + Send + 'static,
) -> Result<T, Failure> {
    let keeper = Keeper::new(store.clone(), known.pin, known.domain);
    let answer = spawn_blocking(move || question(&keeper)).await;
    // It panicked, or the process is about to end.
    let answer = answer.unwrap_or_else(|error| Err(TokensError::Store(error.into())));
    answer.map_err(|error| Failure::Kept(error.into()))
}

/// What tokens of this server carry of its key.
fn pin(data: &Path) -> Result<Option<[u8; 32]>, Failure> {
    match Facts::load(data)?.pin {
        true => Ok(Some(*identity::load_or_make(data, &["localhost".into()])?.pin().as_bytes())),
        false => Ok(None),
    }
}

#[cfg(unix)]
fn path(what: &str, name: &str) -> String {
    format!("/api/v1/{what}/{}", tunnel_admin::segment(name))
}

/// What the server says is what a directory's keeper would have said.
#[cfg(unix)]
fn refused(error: tunnel_admin::ClientError) -> Failure {
    match error {
        tunnel_admin::ClientError::Refused(problem) => Failure::Kept(problem),
        error => error.into(),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
