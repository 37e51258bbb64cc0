//! What real frameworks say of themselves, and what visitors must read instead.

use super::*;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn get<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// A request that came over https to a public port of its own.
fn request(
    rewrite: &HostRewrite,
    host: &str,
    proto: &str,
    more: &[(&'static str, &str)],
) -> (HeaderMap, Public) {
    let mut fields = vec![("host", host), ("x-forwarded-host", host), ("x-forwarded-proto", proto)];
    fields.extend_from_slice(more);
    let mut headers = headers(&fields);
    let public = rewrite.to_upstream(&mut headers).unwrap();
    (headers, public)
}

#[test]
fn a_request_names_the_upstream_only() {
    let rewrite = HostRewrite::new("localhost:3000", false).unwrap();
    let (headers, _) = request(
        &rewrite,
        "app.vps.test:8443",
        "https",
        &[
            ("origin", "https://app.vps.test:8443"),
            ("referer", "https://app.vps.test:8443/a?b#c"),
            ("x-other", "app.vps.test"),
        ],
    );
    assert_eq!(get(&headers, "host"), Some("localhost:3000"));
    assert_eq!(get(&headers, "origin"), Some("http://localhost:3000"));
    assert_eq!(get(&headers, "referer"), Some("http://localhost:3000/a?b#c"));
    assert_eq!(get(&headers, "x-other"), Some("app.vps.test"));
    assert_eq!((get(&headers, "x-forwarded-host"), get(&headers, "x-forwarded-proto")), (None, Some("http")));
}

#[test]
fn webdav_is_told_of_places_at_its_own_address() {
    let rewrite = HostRewrite::new("localhost:3000", false).unwrap();
    let lock = "<https://app.test/a%20b> (<opaquelocktoken:1> [\"x\"]) <https://app.test> (<opaquelocktoken:2>) \
         <http://other.test/> (Not <DAV:no-lock>)";
    let (headers, _) =
        request(&rewrite, "app.test", "https", &[("destination", "https://app.test/c%20d"), ("if", lock)]);
    assert_eq!(get(&headers, "destination"), Some("http://localhost:3000/c%20d"));
    let own = lock.replace("https://app.test", "http://localhost:3000");
    assert_eq!(get(&headers, "if"), Some(own.as_str()));
    let others = [("destination", "http://other.test/x"), ("if", "(<opaquelocktoken:1>)")];
    let (headers, _) = request(&rewrite, "app.test", "https", &others);
    assert!(others.iter().all(|(name, value)| get(&headers, name) == Some(value)), "{headers:?}");
}

#[test]
fn other_origins_stay_what_they_are() {
    let rewrite = HostRewrite::new("localhost:3000", false).unwrap();
    for origin in [
        "https://evil.test",
        "https://app.vps.test.evil.test",
        "https://app.vps.test:9",
        "https://app.vps.test/path",
        "https://app.vps.test@evil.test",
        "https://evil.test\\.app.vps.test",
        "null",
        "chrome-extension://app.vps.test",
        "",
    ] {
        let (headers, public) = request(&rewrite, "app.vps.test", "https", &[("origin", origin)]);
        assert_eq!(get(&headers, "origin"), Some(origin));
        assert!(public.origin.is_none());
    }
    // A port that goes without saying, and letters of either case.
    for origin in ["https://app.vps.test", "https://app.vps.test:443", "https://APP.vps.test"] {
        let (headers, _) = request(&rewrite, "App.vps.test", "https", &[("origin", origin)]);
        assert_eq!(get(&headers, "origin"), Some("http://localhost:3000"), "{origin}");
    }
}

#[test]
fn redirects_lead_to_the_public_address() {
    // What the upstream calls itself, how it was asked, what it answers, what the visitor reads.
    for (own, https, asked, proto, location, expected) in [
        // Rails `redirect_to root_url`, Django's APPEND_SLASH, Next's middleware.
        ("localhost:3000", false, "a.test", "https", "http://localhost:3000/", "https://a.test/"),
        (
            "localhost:3000",
            false,
            "a.test:8080",
            "http",
            "http://localhost:3000/x?y=1#z",
            "http://a.test:8080/x?y=1#z",
        ),
        ("localhost:3000", false, "a.test:8080", "http", "http://LOCALHOST:3000", "http://a.test:8080"),
        // An upstream that insists on https for itself.
        ("localhost:3000", false, "a.test", "https", "https://localhost:3000/login", "https://a.test/login"),
        // WordPress, with `siteurl` at a name of its own.
        (
            "blog.test",
            false,
            "a.test:8443",
            "https",
            "http://blog.test/wp-admin/",
            "https://a.test:8443/wp-admin/",
        ),
        ("blog.test", false, "a.test", "http", "https://blog.test/", "http://a.test/"),
        ("blog.test", false, "a.test", "http", "http://blog.test:80/", "http://a.test/"),
        ("nas.lan", true, "a.test", "https", "https://nas.lan:443/x", "https://a.test/x"),
        ("nas.lan:8443", true, "a.test", "http", "https://nas.lan:8443/x", "http://a.test/x"),
        // Without a scheme.
        ("localhost:3000", false, "a.test", "https", "//localhost:3000/x", "//a.test/x"),
        ("[::1]:3000", false, "a.test", "https", "http://[::1]:3000/x", "https://a.test/x"),
        // Somewhere else.
        ("localhost:3000", false, "a.test", "https", "/relative", "/relative"),
        ("localhost:3000", false, "a.test", "https", "?page=2", "?page=2"),
        ("localhost:3000", false, "a.test", "https", "http://localhost:4000/", "http://localhost:4000/"),
        ("localhost:3000", false, "a.test", "https", "http://localhost/", "http://localhost/"),
        (
            "localhost:3000",
            false,
            "a.test",
            "https",
            "https://accounts.test/o?r=http://localhost:3000/cb",
            "https://accounts.test/o?r=http://localhost:3000/cb",
        ),
        (
            "localhost:3000",
            false,
            "a.test",
            "https",
            "http://localhost:3000@evil.test/",
            "http://localhost:3000@evil.test/",
        ),
        (
            "localhost:3000",
            false,
            "a.test",
            "https",
            "http://localhost:3000.evil.test/",
            "http://localhost:3000.evil.test/",
        ),
        ("blog.test", false, "a.test", "https", "http://www.blog.test/", "http://www.blog.test/"),
        (
            "localhost:3000",
            false,
            "a.test",
            "https",
            "myapp://localhost:3000/cb",
            "myapp://localhost:3000/cb",
        ),
        ("localhost:3000", false, "a.test", "https", "mailto:x@localhost:3000", "mailto:x@localhost:3000"),
    ] {
        let rewrite = HostRewrite::new(own, https).unwrap();
        let (_, public) = request(&rewrite, asked, proto, &[]);
        let mut answer = headers(&[("location", location), ("content-location", location)]);
        rewrite.to_visitor(&mut answer, &public);
        assert_eq!(get(&answer, "location"), Some(expected), "{own} {location}");
        assert_eq!(get(&answer, "content-location"), Some(expected));
    }
}

#[test]
fn the_browser_knows_best_which_scheme_it_used() {
    let rewrite = HostRewrite::new("localhost:3000", false).unwrap();
    let (_, public) = request(&rewrite, "a.test", "http", &[("origin", "https://a.test")]);
    let mut answer = headers(&[("location", "http://localhost:3000/")]);
    rewrite.to_visitor(&mut answer, &public);
    assert_eq!(get(&answer, "location"), Some("https://a.test/"));
}

#[test]
fn cookies_are_for_the_public_host() {
    for (own, cookie, expected) in [
        ("localhost:3000", "a=1; Domain=localhost; Path=/", "a=1; Domain=a.test; Path=/"),
        ("localhost:3000", "a=1;domain=.LOCALHOST;Secure", "a=1;domain=a.test;Secure"),
        ("app.blog.test", "a=1; Domain=.blog.test; HttpOnly", "a=1; Domain=a.test; HttpOnly"),
        ("app.blog.test", "a=1; Domain=app.blog.test", "a=1; Domain=a.test"),
        ("app.blog.test", "a=1; Domain=log.test", "a=1; Domain=log.test"),
        ("app.blog.test", "a=1; Domain=other.test", "a=1; Domain=other.test"),
        ("app.blog.test", "domain=app.blog.test; Path=/", "domain=app.blog.test; Path=/"),
        ("app.blog.test", "a=1; Domain=", "a=1; Domain="),
        ("app.blog.test", "a=1; Path=/; SameSite=Lax", "a=1; Path=/; SameSite=Lax"),
    ] {
        let rewrite = HostRewrite::new(own, false).unwrap();
        let (_, public) = request(&rewrite, "a.test:8443", "https", &[]);
        let mut answer =
            headers(&[("set-cookie", "first=1"), ("set-cookie", cookie), ("set-cookie", "last=1")]);
        rewrite.to_visitor(&mut answer, &public);
        let cookies: Vec<_> =
            answer.get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap()).collect();
        assert_eq!(cookies, ["first=1", expected, "last=1"], "{own}");
    }
}

#[test]
fn a_cookie_that_is_no_ascii_is_kept() {
    let rewrite = HostRewrite::new("localhost", false).unwrap();
    let (_, public) = request(&rewrite, "a.test", "https", &[]);
    let cookie = HeaderValue::from_bytes(b"a=\xff; Domain=localhost").unwrap();
    let mut answer = HeaderMap::from_iter([(SET_COOKIE, cookie.clone())]);
    rewrite.to_visitor(&mut answer, &public);
    assert_eq!(answer[SET_COOKIE], cookie);
}

#[test]
fn allowed_origins_and_refreshes() {
    let rewrite = HostRewrite::new("localhost:3000", false).unwrap();
    for (name, value, expected) in [
        ("access-control-allow-origin", "http://localhost:3000", "https://a.test:8443"),
        ("access-control-allow-origin", "*", "*"),
        ("access-control-allow-origin", "null", "null"),
        ("access-control-allow-origin", "https://other.test", "https://other.test"),
        ("refresh", "5", "5"),
        ("refresh", "5; url=http://localhost:3000/x", "5; url=https://a.test:8443/x"),
        ("refresh", "0;URL='http://localhost:3000/x'", "0;URL='https://a.test:8443/x'"),
        ("refresh", "0; url=/x", "0; url=/x"),
        ("link", "<http://localhost:3000/x>; rel=next", "<http://localhost:3000/x>; rel=next"),
    ] {
        let (_, public) = request(&rewrite, "a.test:8443", "https", &[]);
        let mut answer = headers(&[(name, value)]);
        rewrite.to_visitor(&mut answer, &public);
        assert_eq!(get(&answer, name), Some(expected));
    }
    let (_, public) = request(&rewrite, "A.test", "http", &[("origin", "http://A.test")]);
    let mut answer = headers(&[("access-control-allow-origin", "http://localhost:3000")]);
    rewrite.to_visitor(&mut answer, &public);
    assert_eq!(get(&answer, "access-control-allow-origin"), Some("http://A.test"), "as the browser wrote it");
}

#[test]
fn hosts_that_are_none() {
    for host in ["", "a b", "a/b", "u@a", "http://a", "a:b:c", ":80"] {
        assert!(HostRewrite::new(host, false).is_none(), "{host:?}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever an upstream answers, translating it neither fails nor touches what doesn't name it.
        #[test]
        fn what_does_not_name_the_upstream_is_not_touched(value in "[ -~]{0,60}") {
            let rewrite = HostRewrite::new("own.test:3000", false).unwrap();
            let (_, public) = request(&rewrite, "a.test", "https", &[]);
            prop_assume!(!value.to_ascii_lowercase().contains("own.test"));
            let fields = ["location", "refresh", "access-control-allow-origin"].map(|name| (name, value.as_str()));
            let mut answer = headers(&fields);
            rewrite.to_visitor(&mut answer, &public);
            for (name, value) in fields {
                prop_assert_eq!(get(&answer, name), Some(value));
            }
        }

        #[test]
        fn a_path_survives_the_way_there_and_back(path in "/[a-zA-Z0-9/?=&#.%-]{0,40}") {
            let rewrite = HostRewrite::new("own.test:3000", false).unwrap();
            let public_url = format!("https://a.test{path}");
            let (asked, public) = request(&rewrite, "a.test", "https", &[("referer", &public_url)]);
            let own_url = get(&asked, "referer").unwrap();
            prop_assert_eq!(own_url, format!("http://own.test:3000{path}"));
            let mut answer = headers(&[("location", own_url)]);
            rewrite.to_visitor(&mut answer, &public);
            prop_assert_eq!(get(&answer, "location").unwrap(), public_url);
        }
    }
}
