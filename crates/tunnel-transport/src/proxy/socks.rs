//! SOCKS 5 (RFC 1928), without a login or with user and password (RFC 1929). The proxy resolves names.

use std::{io, net::IpAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel_io::Io;

use super::{Login, ProxyProblem};
use crate::ServerAddress;

const VERSION: u8 = 5;
/// The version of the login within (RFC 1929 §2).
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xFF;
const CONNECT: u8 = 1;
const V4: u8 = 1;
const NAME: u8 = 3;
const V6: u8 = 4;

/// Has the proxy connect to `server`: what is read and written afterwards is the server's.
pub(super) async fn ask<T: Io>(
    io: &mut T,
    server: &ServerAddress,
    login: Option<&Login>,
) -> Result<(), ProxyProblem> {
    let methods: &[u8] = if login.is_some() { &[NO_LOGIN, PASSWORD] } else { &[NO_LOGIN] };
    send(io, &[&[VERSION, byte(methods.len())], methods].concat()).await?;
    match (receive::<2, _>(io).await?, login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, PASSWORD], Some(login)) => prove(io, login).await?,
        ([VERSION, NONE_ACCEPTABLE], None) => return Err(ProxyProblem::NoLogin),
        ([VERSION, NONE_ACCEPTABLE], Some(_)) => {
            return Err(ProxyProblem::OtherLogin("neither none nor password".into()));
        }
        _ => return Err(ProxyProblem::NotAProxy),
    }
    send(io, &request(server)).await?;
    answer(io).await
}

async fn prove<T: Io>(io: &mut T, Login { user, password }: &Login) -> Result<(), ProxyProblem> {
    let (user, password) = (user.as_bytes(), password.as_bytes());
    let message = [&[LOGIN_VERSION, byte(user.len())], user, &[byte(password.len())], password].concat();
    send(io, &message).await?;
    match receive::<2, _>(io).await? {
        [_, 0] => Ok(()),
        _ => Err(ProxyProblem::WrongLogin),
    }
}

fn request(server: &ServerAddress) -> Vec<u8> {
    let mut request = vec![VERSION, CONNECT, 0];
    match server.ip() {
        Some(IpAddr::V4(v4)) => {
            request.push(V4);
            request.extend(v4.octets());
        }
        Some(IpAddr::V6(v6)) => {
            request.push(V6);
            request.extend(v6.octets());
        }
        None => {
            request.extend([NAME, byte(server.host().len())]);
            request.extend(server.host().as_bytes());
        }
    }
    request.extend(server.port().to_be_bytes());
    request
}

async fn answer<T: Io>(io: &mut T) -> Result<(), ProxyProblem> {
    let [version, reply, _, kind] = receive::<4, _>(io).await?;
    if version != VERSION {
        return Err(ProxyProblem::NotAProxy);
    }
    let problem = match reply {
        0 => return skip_address(io, kind).await,
        2 => ProxyProblem::Forbidden("by its rules"),
        3 => ProxyProblem::NoServer("its network is unreachable".into()),
        4 => ProxyProblem::NoServer("it is unreachable, or its name unknown".into()),
        5 => ProxyProblem::NoServer("it refused the connection".into()),
        6 => ProxyProblem::NoServer("it did not answer".into()),
        1 => ProxyProblem::Refused("general failure".into()),
        7 => ProxyProblem::Refused("it can't connect, only listen".into()),
        8 => ProxyProblem::Refused("it doesn't know this kind of address".into()),
        other => ProxyProblem::Refused(format!("reply {other}")),
    };
    Err(problem)
}

/// The address that the proxy connects from, which nobody needs; but it is in the way.
async fn skip_address<T: Io>(io: &mut T, kind: u8) -> Result<(), ProxyProblem> {
    match kind {
        V4 => receive::<6, _>(io).await.map(drop),
        V6 => receive::<18, _>(io).await.map(drop),
        NAME => {
            let [length] = receive::<1, _>(io).await?;
            for _ in 0..usize::from(length) + 2 {
                receive::<1, _>(io).await?;
            }
            Ok(())
        }
        _ => Err(ProxyProblem::NotAProxy),
    }
}

async fn send<T: Io>(io: &mut T, message: &[u8]) -> Result<(), ProxyProblem> {
    let sent: io::Result<()> = async {
        io.write_all(message).await?;
        io.flush().await
    }
    .await;
    sent.map_err(ProxyProblem::Closed)
}

async fn receive<const N: usize, T: Io>(io: &mut T) -> Result<[u8; N], ProxyProblem> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await.map_err(ProxyProblem::Closed)?;
    Ok(bytes)
}

/// A length that was checked before.
fn byte(length: usize) -> u8 {
    u8::try_from(length).expect("invariant: names, users and passwords have at most 255 bytes")
}
