//! Hosts as wholes: who may have which part of one when somebody has another.

use std::sync::atomic::{AtomicBool, Ordering};

use tunnel_protocol::TokenId;

use super::{super::Lease, *};

/// Parts of one host, and of hosts that have nothing to do with it.
fn parts() -> [Name; 4] {
    [
        web("app.example.com", "/"),
        web("app.example.com", "/api"),
        Name::Host("app.example.com".parse().unwrap(), Part::Tls),
        web("*.example.com", "/"),
    ]
}

/// How a lease is when the next one asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    Live,
    Held,
    Released,
    Over,
}

#[tokio::test(start_paused = true)]
async fn all_parts_of_a_host_are_of_one_token() {
    for has in parts() {
        for wants in parts() {
            for now in [Now::Live, Now::Held, Now::Released, Now::Over] {
                let registry = Registry::new(shared(), 80);
                let mut lease = Some(registry.claim(&has, &claim(1, 1)).unwrap());
                match now {
                    Now::Live => {}
                    Now::Held => drop(lease.take()),
                    Now::Released | Now::Over => lease.take().unwrap().release(),
                }
                if now == Now::Over {
                    tokio::time::advance(Duration::from_secs(10)).await;
                }
                let of_one_host = has.host() == wants.host();
                let case = format!("{has:?}, {now:?}, and another wants {wants:?}");
                match registry.claim(&wants, &claim(2, 2)) {
                    Ok(_) => assert!(!of_one_host || now == Now::Over, "{case}"),
                    Err(error) => {
                        assert!(of_one_host && now != Now::Over, "{case}: {error}");
                        let refusal = error.refusal(&wants);
                        assert_eq!(refusal.code, tunnel_protocol::Code::NameTaken, "{case}");
                        assert_eq!(refusal.is_passing(), now == Now::Released, "{case}");
                    }
                }
                if of_one_host && now != Now::Over {
                    let own = registry.claim(&wants, &claim(1, 1));
                    assert!(own.is_ok(), "{case}; and so does its owner: {own:?}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_changes_hands_leaves_no_part_behind() {
    let registry = Registry::new(shared(), 80);
    for part in parts() {
        registry.claim(&part, &claim(1, 1)).unwrap().release();
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    // Nobody has swept yet.
    let _api = registry.claim(&web("app.example.com", "/api"), &claim(2, 2)).unwrap();
    let host = Hostname::parse("app.example.com").unwrap();
    let routes = &registry.shared.routes;
    assert_eq!(routes.owner(&host), Some(TokenId([2; 8])));
    assert!(routes.lookup(&host, "/api/x").is_some());
    assert!(routes.lookup(&host, "/").is_none() && routes.lookup_tls(&host).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_most_specific_host_decides_and_then_the_longest_path() {
    let registry = Registry::new(shared(), 80);
    let names = [
        web("*.dev.example.com", "/"),
        web("app.dev.example.com", "/api"),
        web("app.dev.example.com", "/api/v1"),
        web("other.dev.example.com", "/"),
        Name::Host("secure.dev.example.com".parse().unwrap(), Part::Tls),
    ];
    let _leases: Vec<_> = names.iter().map(|name| registry.claim(name, &claim(1, 1)).unwrap()).collect();
    let routes = &registry.shared.routes;
    for (host, path, expected) in [
        ("x.dev.example.com", "/api", Some("http://*.dev.example.com")),
        ("other.dev.example.com", "/", Some("http://other.dev.example.com")),
        ("app.dev.example.com", "/api", Some("http://app.dev.example.com/api")),
        ("app.dev.example.com", "/api/v1?x", Some("http://app.dev.example.com/api/v1")),
        ("app.dev.example.com", "/api/v2", Some("http://app.dev.example.com/api")),
        // The wildcard isn't asked: it may be somebody else's.
        ("app.dev.example.com", "/apix", None),
        ("secure.dev.example.com", "/", None),
        ("x.y.dev.example.com", "/", None),
        ("dev.example.com", "/", None),
    ] {
        let found = routes.lookup(&Hostname::parse(host).unwrap(), path);
        assert_eq!(found.as_ref().map(|endpoint| endpoint.address.url()), expected, "{host}{path}");
    }
    let secure = Hostname::parse("secure.dev.example.com").unwrap();
    assert!(routes.lookup_tls(&secure).is_some());
    assert!(routes.lookup_tls(&Hostname::parse("x.dev.example.com").unwrap()).is_none());
    assert_eq!(routes.owner(&Hostname::parse("x.dev.example.com").unwrap()), Some(TokenId([1; 8])));
    assert_eq!(routes.owner(&Hostname::parse("dev.example.com").unwrap()), None);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_gone_frees_the_name_at_once() {
    let registry = Registry::new(shared(), 80);
    let name = web("app.example.com", "/");
    let lease = registry.claim(&name, &claim(1, 1)).unwrap();
    let endpoint = lease.endpoint().clone();
    lease.forfeit();
    assert_eq!(endpoint.serve(VISITOR, None).await.unwrap_err(), crate::endpoint::Absent::Gone);
    assert!(registry.claim(&name, &claim(2, 2)).is_ok());
}

#[tokio::test]
async fn leases_of_all_kinds_survive_a_restart() {
    let before = Registry::new(shared(), 80);
    let names: Vec<_> = parts().into_iter().chain([myapp(), web("myapp.test", "/api")]).collect();
    let leases: Vec<_> = names.iter().map(|name| before.claim(name, &claim(1, 1)).unwrap()).collect();
    let _pool = before.claim(&web("pool.test", "/"), &Claim { pool: true, ..claim(1, 1) }).unwrap();
    drop(leases);
    let saved = before.export();
    assert_eq!(saved.len(), names.len() + 1);
    assert_eq!(saved.iter().filter(|lease| lease.subdomain.is_some()).count(), 3);
    assert_eq!(saved.iter().filter(|lease| lease.pool).count(), 1);

    let after = Registry::new(shared(), 80);
    let mut read = saved.clone();
    // Somebody tampered with the file: the first one counts.
    let mut rival = read[0].clone();
    rival.token = TokenId([2; 8]);
    read.push(rival);
    after.import(read);
    assert_eq!(after.export(), saved);
    for name in &names {
        assert!(after.claim(name, &claim(2, 2)).is_err(), "{name:?}");
        assert!(after.claim(name, &claim(1, 1)).is_ok(), "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_found_while_others_come_and_go_around_it() {
    let registry = Registry::new(shared(), 80);
    let _name = registry.claim(&myapp(), &claim(1, 1)).unwrap();
    let _under = registry.claim(&web("*.dev.example.com", "/"), &claim(1, 1)).unwrap();
    let routes = &registry.shared.routes;
    let hosts = ["myapp.test", "x.dev.example.com"].map(|host| Hostname::parse(host).unwrap());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                assert!(hosts.iter().all(|host| routes.lookup(host, "/").is_some()));
            }
        });
        let others: Result<Vec<_>, _> = (0..500)
            .map(|number| registry.claim(&web(&format!("n{number}.test"), "/"), &claim(1, 1)))
            .collect();
        let released = others.map(|others| others.into_iter().for_each(Lease::release));
        is_over.store(true, Ordering::Release);
        visitor.join().unwrap();
        released.unwrap();
    });
    tokio::time::advance(Duration::from_secs(100)).await;
    registry.sweep();
    assert!(routes.lookup(&Hostname::parse("n7.test").unwrap(), "/").is_none());
}
