//! Noticing that this machine is in another network: what was sent by the former way may never arrive, and nobody says
//! so.

use std::net::IpAddr;

use tunnel_transport::Way;

/// How many addresses are kept in mind.
const SEEN: usize = 8;

/// The way to the server when it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct WayWatch {
    last: Option<Way>,
    /// The addresses that led there before, the last one included.
    seen: Vec<IpAddr>,
    /// Whether there has been none since.
    was_gone: bool,
}

/// What has become of the way since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is as it was, or there is none, or nobody knows.
    Nothing,
    /// It was gone, or another one, and is again what it was: mostly a moment without a network, or two ways of equal
    /// rank, between which the kernel chooses by port. Connections survive both.
    Back,
    /// It is a new one: connections made by the former may be dead.
    Other,
}

impl WayWatch {
    /// Looks at the way there is now.
    pub(crate) fn look(&mut self, now: Option<Way>) -> Change {
        let Some(now) = now else {
            self.was_gone = self.last.is_some();
            return Change::Nothing;
        };
        let was_gone = std::mem::take(&mut self.was_gone);
        // To another address of the server another way may lead, and the former still be there.
        let Some(before) = self.last.replace(now).filter(|before| before.to == now.to) else {
            self.seen = vec![now.from];
            return Change::Nothing;
        };
        if before.from == now.from {
            return if was_gone { Change::Back } else { Change::Nothing };
        }
        if self.seen.contains(&now.from) {
            return Change::Back;
        }
        if self.seen.len() == SEEN {
            self.seen.remove(0);
        }
        self.seen.push(now.from);
        Change::Other
    }
}

#[cfg(test)]
mod tests {
    use super::{Change::*, *};

    #[test]
    fn another_address_and_one_that_is_back_are_noticed_once() {
        let way = |from: u8, to: u8| {
            Some(Way { from: [10, 0, 0, from].into(), to: ([192, 0, 2, to], 4444).into() })
        };
        let mut watch = WayWatch::default();
        for (now, change, why) in [
            (None, Nothing, "nobody knows"),
            (way(1, 1), Nothing, "the first"),
            (way(1, 1), Nothing, "the same"),
            (way(2, 1), Other, "another network"),
            (way(2, 1), Nothing, "once"),
            (None, Nothing, "gone, and nothing can be done"),
            (None, Nothing, "still"),
            (way(2, 1), Back, "mostly the same network"),
            (way(2, 1), Nothing, "once"),
            (None, Nothing, "gone"),
            (way(3, 1), Other, "another network, after a while without one"),
            (way(2, 1), Back, "where it was before"),
            (way(3, 1), Back, "and again"),
            (way(3, 2), Nothing, "another address of the server"),
            (way(2, 2), Other, "not where it was on the way to this one"),
        ] {
            assert_eq!(watch.look(now), change, "{why}");
        }
        for host in 10..200 {
            assert_eq!(watch.look(way(host, 2)), Other);
        }
        assert_eq!(watch.seen.len(), SEEN);
    }
}
