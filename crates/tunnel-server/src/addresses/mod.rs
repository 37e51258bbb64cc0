//! What one visitor's address may do, over all listeners, ports and tunnels together: or a single machine could keep
//! every other visitor out. So that none can keep a core busy with handshakes, clients' addresses are counted as well.
//!
//! IPv6 addresses count by /64, which is what one customer gets. Those who come in others' stead aren't counted:
//! trusted proxies and load balancers (whoever is behind them is), and loopback, which is a proxy that nobody told us
//! of, or the operator.

mod crowd;

use std::{net::IpAddr, time::Duration};

use tunnel_protocol::Code;

pub(crate) use self::crowd::{Counted, Crowd};
use crate::{config::Rate, rates::Rates, settings::Settings, throttle};

/// What is known of all addresses.
#[derive(Debug)]
pub(crate) struct Addresses {
    settings: Settings,
    connections: Crowd,
    requests: Crowd,
    waiting: Crowd,
    new_connections: Rates,
    new_requests: Rates,
    /// Apart from connections: anybody can send datagrams in anybody's name, which must not cost that one its pages.
    new_flows: Rates,
    /// Apart from visitors: a client may have many of them behind its own address.
    new_logins: Rates,
}

/// Why an address has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// It has as many as it may.
    Many,
    /// It came more often than it may; this long until it may again.
    Fast(Duration),
}

impl Excess {
    /// The reason, as it is counted.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Many => Code::TooManyVisitors,
            Self::Fast(_) => Code::RateLimited,
        }
    }
}

impl Addresses {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            connections: Crowd::default(),
            requests: Crowd::default(),
            waiting: Crowd::default(),
            new_connections: Rates::new(),
            new_requests: Rates::new(),
            new_flows: Rates::new(),
            new_logins: Rates::new(),
        }
    }

    /// As whose a visitor is counted, if as anybody's.
    pub(crate) fn counted(&self, address: IpAddr) -> Option<IpAddr> {
        let address = address.to_canonical();
        let config = self.settings.now();
        let mut exempt = config.trusted_proxies.iter().chain(&config.proxy_protocol_from);
        let is_exempt = address.is_loopback() || exempt.any(|network| network.contains(&address));
        (!is_exempt).then(|| throttle::network(address))
    }

    /// A connection begins, as [`counted`](Self::counted).
    ///
    /// # Errors
    /// [`Excess`]
    pub(crate) fn connect(&self, counted: Option<IpAddr>) -> Result<Option<Counted>, Excess> {
        let limits = &self.settings.now().limits;
        let rate = (&self.new_connections, limits.connection_rate_per_address);
        begin(counted, rate, (&self.connections, limits.connections_per_address))
    }

    /// A web request begins.
    ///
    /// # Errors
    /// [`Excess`]
    pub(crate) fn request(&self, visitor: IpAddr) -> Result<Option<Counted>, Excess> {
        let limits = &self.settings.now().limits;
        let rate = (&self.new_requests, limits.request_rate_per_address);
        begin(self.counted(visitor), rate, (&self.requests, limits.requests_per_address))
    }

    /// A UDP flow begins. How many there may be is each tunnel's business.
    ///
    /// # Errors
    /// [`Excess`]
    pub(crate) fn flow(&self, visitor: IpAddr) -> Result<(), Excess> {
        let rate = self.settings.now().limits.connection_rate_per_address;
        take(self.counted(visitor), (&self.new_flows, rate))
    }

    /// A connection of a client's begins, which nothing is known of yet.
    ///
    /// # Errors
    /// [`Excess`]
    pub(crate) fn log_in(&self, client: IpAddr) -> Result<(), Excess> {
        let rate = self.settings.now().limits.login_rate_per_address;
        take(self.counted(client), (&self.new_logins, rate))
    }

    /// A visitor begins to wait for an absent client.
    ///
    /// # Errors
    /// [`Excess`]
    pub(crate) fn wait(&self, visitor: IpAddr) -> Result<Option<Counted>, Excess> {
        let limit = self.settings.now().limits.waiting_per_address;
        let place = |address| self.waiting.take(address, limit).ok_or(Excess::Many);
        self.counted(visitor).map(place).transpose()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        [&self.connections, &self.requests, &self.waiting].into_iter().all(Crowd::is_empty)
    }
}

fn begin(
    counted: Option<IpAddr>,
    rate: (&Rates, Option<Rate>),
    (crowd, limit): (&Crowd, usize),
) -> Result<Option<Counted>, Excess> {
    let Some(address) = counted else { return Ok(None) };
    let place = crowd.take(address, limit).ok_or(Excess::Many)?;
    take(counted, rate)?;
    Ok(Some(place))
}

fn take(counted: Option<IpAddr>, (rates, rate): (&Rates, Option<Rate>)) -> Result<(), Excess> {
    match counted.zip(rate) {
        Some((address, rate)) => rates.take(address, rate).map_err(Excess::Fast),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tunnel_router::Hostname;

    use super::*;
    use crate::config::Config;

    #[tokio::test(start_paused = true)]
    async fn datagrams_in_somebodys_name_cost_it_no_connection() {
        let mut config = Config::new(Hostname::parse("test").unwrap());
        config.limits.connection_rate_per_address = Some(Rate { count: 2, per: Duration::from_secs(1) });
        config.limits.request_rate_per_address = config.limits.connection_rate_per_address;
        config.limits.login_rate_per_address = config.limits.connection_rate_per_address;
        let addresses = Addresses::new(Settings::new(config));
        let [forged, here] = [[192, 0, 2, 1], [127, 0, 0, 1]].map(IpAddr::from);
        let fast = Err(Excess::Fast(Duration::from_millis(500)));
        assert_eq!([0; 3].map(|_| addresses.flow(forged)), [Ok(()), Ok(()), fast]);
        assert_eq!([0; 3].map(|_| addresses.flow(here)), [Ok(()); 3]);
        let connect = |_| addresses.connect(addresses.counted(forged)).map(drop);
        assert_eq!([0; 3].map(connect), [Ok(()), Ok(()), fast]);
        assert_eq!([0; 3].map(|_| addresses.request(forged).map(drop)), [Ok(()), Ok(()), fast]);
        assert_eq!([0; 3].map(|_| addresses.request(here).map(drop)), [Ok(()); 3]);
        assert_eq!([0; 3].map(|_| addresses.log_in(forged)), [Ok(()), Ok(()), fast]);
        assert_eq!([0; 3].map(|_| addresses.log_in(here)), [Ok(()); 3]);
        assert!(addresses.is_empty());
    }
}
