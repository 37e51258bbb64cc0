//! Through which proxy the server is reached, if any: the one that was named, else the one that the system's programs
//! use, unless it is not for this server.

use std::net::IpAddr;

use ipnet::IpNet;
use tunnel_client::Proxy;
use tunnel_transport::ServerAddress;

use super::client::ResolveError;
use crate::args::Route;

/// `none` is a choice, too.
pub(super) fn choose(
    route: &Route,
    server: &ServerAddress,
    warnings: &mut Vec<String>,
) -> Result<Option<Proxy>, ResolveError> {
    if let Some(proxy) = &route.proxy {
        let proxy = proxy.expose().trim();
        if proxy.eq_ignore_ascii_case("none") {
            return Ok(None);
        }
        if route.proxy_was_typed && proxy.contains('@') {
            warnings.push(
                "a password on the command line can be seen by others on this machine; use TUNNEL_PROXY"
                    .into(),
            );
        }
        return proxy.parse().map(Some).map_err(|error| ResolveError::Proxy("the proxy", error));
    }
    match &route.system.proxy {
        Some(proxy) if !is_direct(server, &route.system.not_for) => {
            let proxy = proxy.expose().parse();
            proxy.map(Some).map_err(|error| ResolveError::Proxy("the proxy in HTTPS_PROXY", error))
        }
        _ => Ok(None),
    }
}

/// Whether `NO_PROXY` names the server, or it is on this machine, where no proxy leads.
fn is_direct(server: &ServerAddress, not_for: &str) -> bool {
    let host = server.host().to_ascii_lowercase();
    let ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    host == "localhost"
        || ip.is_some_and(|ip| ip.is_loopback())
        || not_for
            .split(',')
            .any(|entry| covers(&entry.trim().to_ascii_lowercase(), &host, ip, server.port()))
}

/// One entry, as most programs read it: `*`, an address, a network, or a domain with all below it; perhaps `:PORT`.
fn covers(entry: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => {
            (name, digits.parse::<u16>().ok())
        }
        _ => (entry, None),
    };
    if name.len() != entry.len() && wanted != Some(port) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if let Some(ip) = ip {
        let one = name.parse::<IpAddr>().is_ok_and(|entry| entry.to_canonical() == ip);
        return one || name.parse::<IpNet>().is_ok_and(|network| network.contains(&ip));
    }
    let domain = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
    let host = host.trim_end_matches('.');
    let below = || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    // `.example.com` is what is below it, and not itself.
    !domain.is_empty() && (below() || (host == domain && name.starts_with(|c| c != '.' && c != '*')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{args::SecretText, env::SystemProxy};

    fn direct(server: &str, not_for: &str) -> bool {
        is_direct(&server.parse().unwrap(), not_for)
    }

    #[test]
    fn for_whom_there_is_no_proxy() {
        for (server, not_for) in [
            ("localhost", ""),
            ("127.0.0.1", ""),
            ("[::1]:1", ""),
            ("vps.example.com", "*"),
            ("vps.example.com", "other, example.com"),
            ("example.com", "example.com"),
            ("VPS.example.com", "EXAMPLE.com"),
            ("vps.example.com", ".example.com"),
            ("vps.example.com", "*.example.com"),
            ("vps.example.com:4444", "example.com:4444"),
            ("10.1.2.3", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3:9", "10.1.2.3:9"),
            ("[2001:db8::1]:9", "2001:db8::1"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
            ("[2001:db8::1]:9", "2001:db8::/32"),
        ] {
            assert!(direct(server, not_for), "{server} {not_for}");
        }
        for (server, not_for) in [
            ("vps.example.com", ""),
            ("vps.example.com", ",, ,"),
            ("vps.example.com", "ample.com"),
            ("vps.example.com", "vps.example"),
            ("example.com", ".example.com"),
            ("vps.example.com:1", "example.com:2"),
            ("vps.example.com:1", "example.com:x"),
            ("11.1.2.3", "10.0.0.0/8"),
            ("10.1.2.3", "2.3"),
            ("vps.example.com", "10.0.0.0/8"),
            ("localhost.example.com", "localhost"),
        ] {
            assert!(!direct(server, not_for), "{server} {not_for}");
        }
    }

    #[test]
    fn the_one_that_is_named_counts_and_else_the_systems() {
        let system = |proxy: Option<&str>| SystemProxy {
            proxy: proxy.map(|proxy| SecretText::from(proxy.to_owned())),
            not_for: "direct.example".into(),
        };
        let secret = |text: &str| Some(SecretText::from(text.to_owned()));
        for (named, from_system, server, expected) in [
            (None, None, "vps", None),
            (None, Some("http://s:1"), "vps", Some("http://s:1")),
            (None, Some("http://s:1"), "direct.example", None),
            (None, Some("socks5://s"), "vps", Some("socks5://s:1080")),
            (Some("http://n:1"), Some("http://s:1"), "vps", Some("http://n:1")),
            // Whoever names it means it.
            (Some("http://n:1"), None, "direct.example", Some("http://n:1")),
            (Some("http://n:1"), None, "localhost", Some("http://n:1")),
            (Some("none"), Some("http://s:1"), "vps", None),
            (Some("None"), Some("no proxy at all"), "vps", None),
        ] {
            let route =
                Route { proxy: named.and_then(secret), proxy_was_typed: true, system: system(from_system) };
            let chosen = choose(&route, &server.parse().unwrap(), &mut Vec::new()).unwrap();
            assert_eq!(chosen.map(|proxy| proxy.to_string()).as_deref(), expected, "{named:?} {server}");
        }
        let route =
            Route { proxy: secret("http://u:hunter2@p"), proxy_was_typed: true, system: system(None) };
        let mut warnings = Vec::new();
        choose(&route, &"vps".parse().unwrap(), &mut warnings).unwrap();
        assert!(warnings[0].contains("TUNNEL_PROXY") && !warnings[0].contains("hunter2"), "{warnings:?}");
        let wrong = Route { system: system(Some("https://u:hunter2@p")), ..Route::default() };
        let error = choose(&wrong, &"vps".parse().unwrap(), &mut warnings).unwrap_err().to_string();
        assert!(error.contains("HTTPS_PROXY") && !error.contains("hunter2"), "{error}");
    }
}
