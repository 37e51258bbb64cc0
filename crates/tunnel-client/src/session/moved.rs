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

impl WayWatch {
    /// Looks at the way there is now; whether it is another one. One that was gone and is back counts as another: it may
    /// be the same address in another network.
    pub(crate) fn moved(&mut self, now: Option<Way>) -> bool {
        let Some(now) = now else {
            self.was_gone = self.last.is_some();
            return false;
        };
        let was_gone = std::mem::take(&mut self.was_gone);
        // To another address of the server another way may lead, and the former still be there.
        let before = self.last.replace(now).filter(|before| before.to == now.to);
        before.is_some_and(|before| was_gone || before.from != now.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_address_and_one_that_is_back_are_noticed_once() {
        let way = |from: u8, to: u8| {
            Some(Way { from: [10, 0, 0, from].into(), to: ([192, 0, 2, to], 4444).into() })
        };
        let mut watch = WayWatch::default();
        for (now, moved, why) in [
            (None, false, "nobody knows"),
            (way(1, 1), false, "the first"),
            (way(1, 1), false, "the same"),
            (way(2, 1), true, "another network"),
            (way(2, 1), false, "once"),
            (None, false, "gone, and nothing can be done"),
            (None, false, "still"),
            (way(2, 1), true, "back, perhaps elsewhere"),
            (way(2, 1), false, "once"),
            (way(3, 2), false, "another address of the server"),
            (way(4, 2), true, "another network"),
        ] {
            assert_eq!(watch.moved(now), moved, "{why}");
        }
    }
}
