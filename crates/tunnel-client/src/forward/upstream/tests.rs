//! The forms people write.

use super::*;

#[test]
fn services_on_a_network() {
    for (text, expected) in [
        ("3000", "localhost:3000"),
        (" 3000\n", "localhost:3000"),
        ("localhost:3000", "localhost:3000"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:8080", "[::1]:8080"),
        ("http://localhost:5173", "localhost:5173"),
        ("http://localhost:5173/", "localhost:5173"),
        ("localhost:5173/", "localhost:5173"),
        ("http://nas.lan", "nas.lan:80"),
        ("http://[::1]", "[::1]:80"),
        ("tcp://db:5432", "db:5432"),
        ("my_container:80", "my_container:80"),
        ("https://localhost:8443", "https://localhost:8443"),
        ("https://nas.lan/", "https://nas.lan:443"),
        ("https://[::1]", "https://[::1]:443"),
        ("https://8443", "https://localhost:8443"),
    ] {
        let upstream = text.parse::<Upstream>().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(upstream.to_string(), expected, "{text}");
        assert_eq!(upstream.to_string().parse(), Ok(upstream.clone()), "{text} again");
        assert!(upstream.url().starts_with("http"), "{text}");
        assert!(upstream.address().is_some() && upstream.as_directory().is_none(), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn unix_sockets() {
    for (text, path) in [
        ("unix:/run/app.sock", "/run/app.sock"),
        ("unix:///run/app.sock", "/run/app.sock"),
        ("unix:app.sock", "app.sock"),
        ("unix:/with space", "/with space"),
    ] {
        let upstream = text.parse::<Upstream>().unwrap();
        assert_eq!(upstream, Upstream::unix(path).unwrap(), "{text}");
        assert_eq!(upstream.to_string(), format!("unix:{path}"));
        assert_eq!(upstream.to_string().parse(), Ok(upstream.clone()), "{text} again");
        assert_eq!(upstream.address(), None);
    }
}

#[cfg(feature = "files")]
#[test]
fn directories() {
    for (text, path) in [
        ("/srv/site", "/srv/site"),
        ("./site", "./site"),
        ("../site", "../site"),
        (".", "."),
        ("..", ".."),
        ("/srv/100%", "/srv/100%"),
        ("file:///srv/my%20site", "/srv/my site"),
        ("file://localhost/srv", "/srv"),
    ] {
        let upstream = text.parse::<Upstream>().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(upstream.as_directory(), Some(Path::new(path)), "{text}");
        assert_eq!(upstream.url(), path, "{text}");
    }
}

#[cfg(not(feature = "files"))]
#[test]
fn directories_need_their_feature() {
    for text in ["./site", "file:///srv"] {
        assert_eq!(text.parse::<Upstream>(), Err(UpstreamError::NotSupported("directory")), "{text}");
    }
}

#[test]
fn everything_else_is_refused_with_a_reason() {
    for text in [
        "",
        "host:",
        "host:x",
        "a b:80",
        "ftp://x:1",
        "[::1",
        "::1:80",
        "unix:",
        "unix://",
        "https://",
        "file://",
        "file://host/x",
        "file://./x",
        "file:///%zz",
        "file:///a%00b",
    ] {
        assert!(matches!(text.parse::<Upstream>(), Err(UpstreamError::Invalid(_))), "{text}");
    }
    assert!(matches!("udp://x:1".parse::<Upstream>(), Err(UpstreamError::NotSupported(_))));
    for text in ["http://x:1/api", "https://x:1/api", "x:1/api"] {
        assert_eq!(text.parse::<Upstream>(), Err(UpstreamError::Path("/api".into())), "{text}");
    }
}

#[test]
fn what_is_nearly_an_address_is_told_what_it_lacks() {
    for (text, words) in [
        ("localhost", "`localhost` has no port; write `localhost:3000`"),
        ("example.com", "`example.com` has no port"),
        ("site", "`site` has no port"),
        (":80", "`:80` has no host; write `80`, or `localhost:80`"),
        ("0", "`0` is no port; ports are from 1 to 65535"),
        ("65536", "`65536` is no port"),
        ("localhost:99999", "`99999` is no port"),
        ("http://localhost:99999", "`99999` is no port"),
        ("https://x:0", "`0` is no port"),
    ] {
        let error = text.parse::<Upstream>().unwrap_err().to_string();
        assert!(error.starts_with(words), "{text}: {error}");
    }
}

#[test]
fn only_https_has_a_trust() {
    let https: Upstream = "https://nas.lan".parse().unwrap();
    let trusting = https.clone().with_trust(UpstreamTrust::Anyone).unwrap();
    assert_ne!(https, trusting);
    assert_eq!(https.to_string(), trusting.to_string());
    let http: Upstream = "http://nas.lan".parse().unwrap();
    assert_eq!(http.with_trust(UpstreamTrust::Anyone), Err(UpstreamError::NoTls));
}
