//! Places for visitors' connections: so many in all, and so many for one address, or a single machine with open
//! sockets would keep every visitor of every tunnel out.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{endpoint::VisitorPermit, settings::Settings, throttle};

/// The places of one server.
#[derive(Debug)]
pub(crate) struct Places {
    settings: Settings,
    taken: Arc<AtomicUsize>,
    here: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place, for as long as the connection lives, whatever becomes of the protocol on it.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// As whose it is counted, if as anybody's.
    counted: Option<IpAddr>,
    _place: VisitorPermit,
}

impl Places {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { settings, taken: Arc::default(), here: Mutex::default() })
    }

    /// A place for a connection from this address, or `None` if all are taken, or all that it may have.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let place = VisitorPermit::take(&self.taken, self.settings.now().limits.connections)?;
        let counted = self.counted(address);
        self.enter(counted).then(|| Place { places: self.clone(), counted, _place: place })
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// As whose a connection is counted. Those who come in others' stead aren't: proxies and load balancers, and
    /// loopback, which is a proxy that nobody told us of, or the operator.
    fn counted(&self, address: IpAddr) -> Option<IpAddr> {
        let address = address.to_canonical();
        let config = self.settings.now();
        let mut exempt = config.trusted_proxies.iter().chain(&config.proxy_protocol_from);
        let is_exempt = address.is_loopback() || exempt.any(|network| network.contains(&address));
        (!is_exempt).then(|| throttle::network(address))
    }

    fn enter(&self, counted: Option<IpAddr>) -> bool {
        let Some(address) = counted else { return true };
        let limit = self.settings.now().limits.connections_per_address;
        let mut here = self.lock();
        let count = here.entry(address).or_default();
        let has_room = *count < limit;
        *count += usize::from(has_room);
        has_room
    }

    fn leave(&self, counted: Option<IpAddr>) {
        let Some(address) = counted else { return };
        let mut here = self.lock();
        if let Some(count) = here.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                here.remove(&address);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether the place may be kept now that a load balancer has said whose connection it is.
    pub(crate) fn is_for(&mut self, address: IpAddr) -> bool {
        let counted = self.places.counted(address);
        if counted == self.counted {
            return true;
        }
        let has_room = self.places.enter(counted);
        if has_room {
            self.places.leave(self.counted);
            self.counted = counted;
        }
        has_room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(self.counted);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tunnel_router::Hostname;

    use super::*;
    use crate::config::Config;

    fn places(connections: usize, per_address: usize) -> Arc<Places> {
        let mut config = Config::new(Hostname::parse("test").unwrap());
        config.limits.connections = connections;
        config.limits.connections_per_address = per_address;
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        config.proxy_protocol_from = vec!["192.168.0.0/16".parse().unwrap()];
        Places::new(Settings::new(config))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_has_so_many_and_gives_them_back() {
        let places = places(100, 2);
        for [one, same, other] in [
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"],
            ["2001:db8::1", "2001:db8::ffff:ffff:0:1", "2001:db8:0:1::1"],
        ] {
            let first = places.take(ip(one)).unwrap();
            let _second = places.take(ip(same)).unwrap();
            assert!(places.take(ip(one)).is_none() && places.take(ip(same)).is_none(), "{one}");
            let _other = places.take(ip(other)).unwrap();
            drop(first);
            assert!(places.take(ip(same)).is_some());
        }
        assert!(places.lock().is_empty(), "{places:?}");
        assert_eq!(places.taken.load(Ordering::Relaxed), 0, "refusals take nothing");
    }

    #[test]
    fn those_who_come_in_others_stead_are_not_counted_and_those_behind_them_are() {
        let places = places(100, 1);
        for exempt in ["10.1.2.3", "192.168.7.7", "127.0.0.1", "::1", "::ffff:10.1.2.3", "::ffff:127.0.0.1"] {
            assert!(places.take(ip(exempt)).zip(places.take(ip(exempt))).is_some(), "{exempt}");
        }
        let mut behind: Vec<_> = (0..3).map(|_| places.take(ip("192.168.7.7")).unwrap()).collect();
        assert!(behind[0].is_for(ip("192.0.2.1")) && behind[0].is_for(ip("192.0.2.1")));
        assert!(!behind[1].is_for(ip("192.0.2.1")));
        assert!(behind[1].is_for(ip("192.0.2.2")) && behind[2].is_for(ip("192.168.7.7")));
        behind.remove(0);
        assert!(behind[1].is_for(ip("192.0.2.1")));
        drop(behind);
        assert!(places.lock().is_empty());
    }

    #[test]
    fn all_together_have_so_many() {
        let places = places(2, 2);
        let _taken = [places.take(ip("127.0.0.1")).unwrap(), places.take(ip("192.0.2.1")).unwrap()];
        assert!(places.take(ip("192.0.2.2")).is_none());
    }
    #[test]
    fn a_smaller_number_turns_nobody_out_and_counts_for_the_next() {
        let places = places(3, 3);
        let mut taken: Vec<_> = (1..=3).map(|n| places.take(IpAddr::from([192, 0, 2, n])).unwrap()).collect();
        let set = |connections, trusted: &[&str]| {
            let mut config = Config::clone(&places.settings.now());
            config.limits.connections = connections;
            config.trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
            places.settings.replace(config);
        };
        set(1, &["192.0.2.0/24"]);
        for _ in 0..2 {
            assert!(places.take(ip("192.0.2.9")).is_none());
            taken.pop();
        }
        assert!(places.take(ip("192.0.2.9")).is_none(), "one is there, and one may be");
        set(2, &[]);
        taken.push(places.take(ip("192.0.2.9")).unwrap());
        assert!(places.take(ip("192.0.2.9")).is_none());
        drop(taken);
        assert!(places.lock().is_empty(), "each is given back as whom it was counted");
    }
}
