//! Places for visitors' connections: so many in all, and so many for one address, or a single machine with open
//! sockets would keep every visitor of every tunnel out.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{config::Config, throttle};

/// The places of one server.
#[derive(Debug)]
pub(crate) struct Places {
    left: Arc<Semaphore>,
    per_address: usize,
    /// Those who come in others' stead: proxies and load balancers.
    exempt: Vec<IpNet>,
    here: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place, for as long as the connection lives, whatever becomes of the protocol on it.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// As whose it is counted, if as anybody's.
    counted: Option<IpAddr>,
    _place: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            left: Arc::new(Semaphore::new(config.limits.connections.min(Semaphore::MAX_PERMITS))),
            per_address: config.limits.connections_per_address,
            exempt: [&config.trusted_proxies[..], &config.proxy_protocol_from[..]].concat(),
            here: Mutex::default(),
        })
    }

    /// A place for a connection from this address, or `None` if all are taken, or all that it may have.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let place = self.left.clone().try_acquire_owned().ok()?;
        let counted = self.counted(address);
        self.enter(counted).then(|| Place { places: self.clone(), counted, _place: place })
    }

    /// As whose a connection is counted. Loopback is a proxy that nobody told us of, or the operator.
    fn counted(&self, address: IpAddr) -> Option<IpAddr> {
        let address = address.to_canonical();
        let is_exempt = address.is_loopback() || self.exempt.iter().any(|network| network.contains(&address));
        (!is_exempt).then(|| throttle::network(address))
    }

    fn enter(&self, counted: Option<IpAddr>) -> bool {
        let Some(address) = counted else { return true };
        let mut here = self.lock();
        let count = here.entry(address).or_default();
        let has_room = *count < self.per_address;
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
    use tunnel_router::Hostname;

    use super::*;

    fn places(connections: usize, per_address: usize) -> Arc<Places> {
        let mut config = Config::new(Hostname::parse("test").unwrap());
        config.limits.connections = connections;
        config.limits.connections_per_address = per_address;
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        config.proxy_protocol_from = vec!["192.168.0.0/16".parse().unwrap()];
        Places::new(&config)
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
        assert_eq!(places.left.available_permits(), 100, "refusals take nothing");
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
}
