//! Trying all addresses of a host without waiting for the dead ones.
//!
//! A host with an IPv6 address that leads nowhere is common, and a TCP connect to nowhere takes minutes to fail.
//! So the addresses are tried a short while apart, families alternating, and the first to connect wins
//! (RFC 8305, "happy eyeballs", sections 4 and 5).

use std::{io, net::SocketAddr, time::Duration};

use tokio::{task::JoinSet, time::timeout};

/// How long one address has for itself before the next is tried too (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// Most addresses tried: a DNS answer is somebody else's input.
const MAX_ADDRESSES: usize = 16;

/// The first of `addresses` for which `connect` succeeds; the others are given up.
///
/// # Errors
///
/// When all failed: the failure that says most about the server.
///
/// # Cancel safety
///
/// Dropping it gives up every attempt.
pub(crate) async fn race<T, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut waiting = alternate(addresses).into_iter().take(MAX_ADDRESSES);
    let mut attempts = JoinSet::new();
    let mut failure: Option<io::Error> = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(connect(address));
        }
        let ended = if waiting.len() > 0 {
            match timeout(STAGGER, attempts.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        } else {
            attempts.join_next().await
        };
        let error = match ended {
            Some(Ok(Ok(connected))) => return Ok(connected),
            Some(Ok(Err(error))) => error,
            Some(Err(died)) => io::Error::other(died),
            None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        };
        if failure.as_ref().is_none_or(|before| is_local(before) && !is_local(&error)) {
            failure = Some(error);
        }
    }
}

/// A failure about this machine's lack of a network or family, which hides what the server would have said.
fn is_local(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), AddrNotAvailable | HostUnreachable | NetworkUnreachable)
}

/// Families in turn, beginning with the one the resolver put first; otherwise its order.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v6_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let count = addresses.len();
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == v6_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::with_capacity(count);
    while ordered.len() < count {
        ordered.extend(first.next());
        ordered.extend(second.next());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        assert_eq!(
            alternate(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"])),
            addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]),
        );
        assert_eq!(alternate(addresses(&["1.1.1.1:1", "[::1]:1"])), addresses(&["1.1.1.1:1", "[::1]:1"]));
        assert!(alternate(Vec::new()).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_address_costs_one_stagger() {
        let start = Instant::now();
        let won = race(addresses(&["[::1]:1", "1.1.1.1:1"]), |address| async move {
            if address.is_ipv6() { pending().await } else { Ok(address) }
        });
        assert_eq!(won.await.unwrap(), "1.1.1.1:1".parse().unwrap());
        assert_eq!(start.elapsed(), STAGGER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_address_may_still_win() {
        let won = race(addresses(&["[::1]:1", "1.1.1.1:1"]), |address| async move {
            if address.is_ipv4() {
                pending::<()>().await;
            }
            // sleep: the clock is paused, and this address is slow
            tokio::time::sleep(STAGGER * 3).await;
            Ok(address)
        });
        assert!(won.await.unwrap().is_ipv6());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_starts_the_next_at_once_and_is_what_gets_reported() {
        let start = Instant::now();
        let lost = race::<(), _>(addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1"]), |address| async move {
            let kind = if address.is_ipv6() {
                io::ErrorKind::NetworkUnreachable
            } else {
                io::ErrorKind::ConnectionRefused
            };
            Err(kind.into())
        });
        assert_eq!(lost.await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn no_address_is_an_error() {
        assert!(race::<(), _>(Vec::new(), |_| pending()).await.is_err());
    }
}
