//! Places for visitors' connections: so many in all, and so many for one address.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tunnel_protocol::Code;

use crate::{
    addresses::{Addresses, Counted, Excess},
    endpoint::VisitorPermit,
    load::Load,
    settings::Settings,
};

/// The places of one server.
#[derive(Debug)]
pub(crate) struct Places {
    settings: Settings,
    addresses: Arc<Addresses>,
    load: Arc<Load>,
    taken: Arc<AtomicUsize>,
}

/// One connection's place, for as long as the connection lives, whatever becomes of the protocol on it.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// As whose it is counted, if as anybody's.
    counted: Option<IpAddr>,
    _of_address: Option<Counted>,
    _place: VisitorPermit,
}

impl Places {
    pub(crate) fn new(settings: Settings, addresses: Arc<Addresses>, load: Arc<Load>) -> Arc<Self> {
        Arc::new(Self { settings, addresses, load, taken: Arc::default() })
    }

    /// A place for a connection from this address.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Code> {
        if self.load.is_full() {
            return Err(Code::Overloaded);
        }
        let place = VisitorPermit::take(&self.taken, self.settings.now().limits.connections)
            .ok_or(Code::TooManyVisitors)?;
        let counted = self.addresses.counted(address);
        let of_address = self.addresses.connect(counted).map_err(Excess::code)?;
        Ok(Place { places: self.clone(), counted, _of_address: of_address, _place: place })
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Place {
    /// Keeps the place now that a load balancer has said whose connection it is.
    ///
    /// # Errors
    /// The reason why that address has none.
    pub(crate) fn set_visitor(&mut self, address: IpAddr) -> Result<(), Code> {
        let counted = self.places.addresses.counted(address);
        if counted != self.counted {
            self._of_address = self.places.addresses.connect(counted).map_err(Excess::code)?;
            self.counted = counted;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering, time::Duration};

    use tokio_util::sync::CancellationToken;
    use tunnel_router::Hostname;

    use super::*;
    use crate::config::{Config, Rate};

    fn places(connections: usize, per_address: usize) -> Arc<Places> {
        let mut config = Config::new(Hostname::parse("test").unwrap());
        config.limits.connections = connections;
        config.limits.connections_per_address = per_address;
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        config.proxy_protocol_from = vec!["192.168.0.0/16".parse().unwrap()];
        let settings = Settings::new(config);
        let load = Load::new(&CancellationToken::new());
        Places::new(settings.clone(), Arc::new(Addresses::new(settings)), Arc::new(load))
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
            assert!(places.take(ip(one)).is_err() && places.take(ip(same)).is_err(), "{one}");
            let _other = places.take(ip(other)).unwrap();
            drop(first);
            assert!(places.take(ip(same)).is_ok());
        }
        assert!(places.addresses.is_empty(), "{places:?}");
        assert_eq!(places.taken.load(Ordering::Relaxed), 0, "refusals take nothing");
    }

    #[test]
    fn those_who_come_in_others_stead_are_not_counted_and_those_behind_them_are() {
        let places = places(100, 1);
        for exempt in ["10.1.2.3", "192.168.7.7", "127.0.0.1", "::1", "::ffff:10.1.2.3", "::ffff:127.0.0.1"] {
            let both = [places.take(ip(exempt)), places.take(ip(exempt))];
            assert!(both.iter().all(Result::is_ok), "{exempt}");
        }
        let mut behind: Vec<_> = (0..3).map(|_| places.take(ip("192.168.7.7")).unwrap()).collect();
        for (place, address, expected) in [
            (0, "192.0.2.1", Ok(())),
            (0, "192.0.2.1", Ok(())),
            (1, "192.0.2.1", Err(Code::TooManyVisitors)),
            (1, "192.0.2.2", Ok(())),
            (2, "192.168.7.7", Ok(())),
        ] {
            assert_eq!(behind[place].set_visitor(ip(address)), expected, "{place} {address}");
        }
        behind.remove(0);
        assert_eq!(behind[1].set_visitor(ip("192.0.2.1")), Ok(()));
        drop(behind);
        assert!(places.addresses.is_empty());
    }

    #[test]
    fn all_together_have_so_many() {
        let places = places(2, 2);
        let _taken = [places.take(ip("127.0.0.1")).unwrap(), places.take(ip("192.0.2.1")).unwrap()];
        assert!(places.take(ip("192.0.2.2")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_comes_so_often_whether_it_stays_or_not() {
        let places = places(100, 100);
        let mut config = Config::clone(&places.settings.now());
        config.limits.connection_rate_per_address = Some(Rate { count: 2, per: Duration::from_secs(1) });
        places.settings.replace(config);
        for address in ["192.0.2.1", "2001:db8::1"] {
            let taken: Vec<_> = (0..3).map(|_| places.take(ip(address)).map(drop)).collect();
            assert_eq!(taken, [Ok(()), Ok(()), Err(Code::RateLimited)]);
        }
        for _ in 0..5 {
            places.take(ip("192.168.7.7")).unwrap();
        }
        let mut behind = places.take(ip("192.168.7.7")).unwrap();
        assert_eq!(behind.set_visitor(ip("192.0.2.1")), Err(Code::RateLimited));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(behind.set_visitor(ip("192.0.2.1")), Ok(()));
        drop(behind);
        assert!(places.addresses.is_empty());
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
            assert!(places.take(ip("192.0.2.9")).is_err());
            taken.pop();
        }
        assert!(places.take(ip("192.0.2.9")).is_err(), "one is there, and one may be");
        set(2, &[]);
        taken.push(places.take(ip("192.0.2.9")).unwrap());
        assert!(places.take(ip("192.0.2.9")).is_err());
        drop(taken);
        assert!(places.addresses.is_empty(), "each is given back as whom it was counted");
    }
}
