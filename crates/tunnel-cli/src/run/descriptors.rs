//! How many visitors fit, in a server or a client: each is an open file, and what they come by needs some too: clients,
//! lanes and logins, logs and state.

/// Open files kept back for what isn't a visitor, at least.
const RESERVE: u64 = 64;
/// And of a large limit this share, so that many clients fit beside many visitors.
const RESERVED_SHARE: u64 = 8;

/// The places for visitors: as configured, or fewer if the system allows fewer open files.
///
/// Visitors that take the last descriptor would lock the clients out that could serve them, or keep a client from
/// coming back to its server.
pub(super) fn visitor_places(configured: usize) -> usize {
    #[cfg(unix)]
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    let limit = None;
    limit.map_or(configured, |limit| configured.min(beside_the_rest(limit)))
}

fn beside_the_rest(limit: u64) -> usize {
    let reserve = RESERVE.max(limit / RESERVED_SHARE);
    // With next to nothing allowed, half of it is better than none.
    let places = limit.saturating_sub(reserve).max(limit / 2).max(1);
    usize::try_from(places).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_back() {
        for (limit, places) in [(1, 1), (100, 50), (256, 192), (1024, 896), (20_000, 17_500)] {
            assert_eq!(beside_the_rest(limit), places, "of {limit}");
        }
        assert!(visitor_places(10) <= 10);
    }
}
