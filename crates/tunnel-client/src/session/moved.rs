//! Noticing that this machine is in another network: what was sent by the former way may never arrive, and nobody says
//! so.

use tunnel_transport::Way;

/// The way to the server when it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct WayWatch {
    last: Option<Way>,
    /// Whether there has been none since.
    was_gone: bool,
}

/// What has become of the way since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is as it was, or there is none, or nobody knows.
    Nothing,
    /// It was gone, and is the same again: mostly a moment without a network, which connections survive.
    Back,
    /// It is another one: connections made by the former may be dead.
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
        let before = self.last.replace(now).filter(|before| before.to == now.to);
        match before {
            Some(before) if before.from != now.from => Change::Other,
            Some(_) if was_gone => Change::Back,
            _ => Change::Nothing,
        }
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
            (way(3, 2), Nothing, "another address of the server"),
            (way(4, 2), Other, "another network"),
        ] {
            assert_eq!(watch.look(now), change, "{why}");
        }
    }
}
