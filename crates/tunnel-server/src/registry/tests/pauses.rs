//! What a pause keeps visitors out of, whatever its owner publishes then.

use super::*;

fn tls(host: &str) -> Name {
    Name::Host(host.parse().unwrap(), Part::Tls)
}

/// Of a name, whether visitors are kept out of some paths. Of what has no paths, whether they are kept out.
fn refused(registry: &Arc<Registry>, name: &Name, claim: &Claim, paths: &[&str]) -> Vec<bool> {
    let lease = registry.claim(name, claim).unwrap();
    let refused = paths.iter().map(|path| lease.endpoint().is_paused_at(path)).collect();
    lease.release();
    refused
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlasts_whatever_its_owner_publishes_of_the_same_host() {
    let (root, api) = (web("app.example.com", "/"), web("app.example.com", "/api"));
    let paths = ["/", "/api", "/api/x?y", "/apix"];
    let (all, none, below) = ([true; 4], [false; 4], [false, true, true, false]);
    for (paused, then, expected) in [
        (&root, web("app.example.com", "/"), all),
        (&root, web("app.example.com", "/api"), all),
        (&root, web("app.example.com", "/new/path"), all),
        (&root, tls("app.example.com"), all),
        (&tls("app.example.com"), root.clone(), all),
        (&tls("app.example.com"), api.clone(), all),
        (&root, web("other.example.com", "/"), none),
        (&root, web("*.example.com", "/"), none),
        (&api, api.clone(), all),
        (&api, web("app.example.com", "/api/v1"), all),
        (&api, web("app.example.com", "/apix"), none),
        (&api, root.clone(), below),
        // Whose paths nobody here can see.
        (&api, tls("app.example.com"), none),
    ] {
        for live_meanwhile in [true, false] {
            let registry = Registry::new(shared(), 80);
            let lease = registry.claim(paused, &claim(1, 1)).unwrap();
            let url = lease.endpoint().address.url().to_owned();
            let at_once = live_meanwhile.then(|| registry.claim(&then, &claim(1, 1)));
            assert!(registry.pause(&url, true));
            if let Some(Ok(other)) = &at_once {
                let refused: Vec<_> = paths.iter().map(|path| other.endpoint().is_paused_at(path)).collect();
                assert_eq!(refused, expected, "{paused:?}, beside {then:?}");
            }
            lease.release();
            drop(at_once);
            let case = format!("{paused:?}, then {then:?}");
            assert_eq!(refused(&registry, &then, &claim(1, 1), &paths), expected, "{case}");

            let after = Registry::new(shared(), 80);
            let held = registry.claim(&then, &claim(1, 1)).unwrap();
            after.import(registry.export());
            drop(held);
            assert_eq!(refused(&after, &then, &claim(1, 1), &paths), expected, "{case}, after a restart");
            if expected != none {
                let next =
                    refused(&after, &web("app.example.com", "/api/next"), &claim(1, 1), &["/api/next"]);
                assert_eq!(next, [true], "{case}, and another path after a restart");
            }

            tokio::time::advance(Duration::from_secs(100)).await;
            registry.sweep();
            assert_eq!(refused(&registry, &then, &claim(2, 2), &paths), none, "{case}, by another token");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_lifted_by_the_host_and_by_each_part_of_it() {
    let host = "http://app.example.com";
    let (x, y) = (web("app.example.com", "/x"), web("app.example.com", "/y"));
    for (paused, resumed, x_is_paused, y_is_paused) in [
        (&[host][..], &[][..], true, true),
        (&[host], &[host], false, false),
        // A part can't be let in alone.
        (&[host], &["http://app.example.com/x"], false, false),
        (&["http://app.example.com/x"], &["http://app.example.com/x"], false, false),
        (&["http://app.example.com/x"], &["http://app.example.com/y"], true, false),
        (&["http://app.example.com/x"], &[host], true, false),
        (&[host, "http://app.example.com/x"], &[host], true, false),
        (&[host, "http://app.example.com/x"], &["http://app.example.com/y"], true, false),
    ] {
        let registry = Registry::new(shared(), 80);
        let leases = [&x, &y].map(|name| registry.claim(name, &claim(1, 1)).unwrap());
        paused.iter().for_each(|url| assert!(registry.pause(url, true), "{url}"));
        resumed.iter().for_each(|url| assert!(registry.pause(url, false), "{url}"));
        let now = leases.each_ref().map(|lease| lease.endpoint().is_paused());
        assert_eq!(now, [x_is_paused, y_is_paused], "{paused:?}, resumed {resumed:?}");
        assert_eq!(registry.paused().is_empty(), !x_is_paused && !y_is_paused);
    }
    let registry = Registry::new(shared(), 80);
    let lease = registry.claim(&x, &claim(1, 1)).unwrap();
    assert!(!registry.pause("http://app.example.co", true) && !registry.pause("http://other.test", true));
    assert!(registry.pause(host, true));
    lease.release();
    tokio::time::advance(Duration::from_secs(100)).await;
    registry.sweep();
    assert!(registry.pause(host, false) && !registry.pause(host, false), "nobody holds it now");
}

#[tokio::test]
async fn what_an_older_server_saved_is_paused_by_itself() {
    let before = Registry::new(shared(), 80);
    let lease = before.claim(&web("app.example.com", "/x"), &claim(1, 1)).unwrap();
    assert!(before.pause(lease.endpoint().address.url(), true));
    let mut saved = before.export();
    saved[0].paused_paths.clear();
    let after = Registry::new(shared(), 80);
    after.import(saved);
    for (path, expected) in [("/x", true), ("/y", false)] {
        let refused = refused(&after, &web("app.example.com", path), &claim(1, 1), &[path]);
        assert_eq!(refused, [expected], "{path}");
    }
}
