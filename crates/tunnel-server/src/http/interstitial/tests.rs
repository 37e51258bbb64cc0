//! Who is shown the page, and whom the button lets through.

use tunnel_router::{Framing, Method as Known, Version};

use super::*;

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                      Version/18.5 Mobile/15E148 Safari/604.1";
const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
                      Safari/537.36";
const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn named(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

fn facts(of: &str) -> Facts {
    Facts {
        host: named(of),
        version: Version::Http11,
        method: Known::Get,
        framing: Framing::None,
        expects_continue: false,
        upgrade: None,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn press(page: &Interstitial, host: &str, visitor: &str, target: &str) -> Response<Bytes> {
    let from = format!("https://{host}");
    let request = request("POST", &format!("{GO_ON}{target}"), &[("origin", &from)]);
    page.go_on(&named(host), ip(visitor), true, &request).unwrap().unwrap()
}

fn cookie_of(response: &Response<Bytes>) -> String {
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn browsers_that_go_to_a_page_are_stopped_and_nobody_else_is() {
    let page = Interstitial::new();
    let navigates = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", HTML)];
    for (method, fields, expected) in [
        ("GET", &navigates[..], true),
        ("HEAD", &navigates, true),
        ("GET", &[("user-agent", BROWSER), ("accept", HTML)], true),
        // A form that was filled in, here or at a sister of this host.
        ("POST", &navigates, false),
        ("POST", &[&navigates[..], &[("sec-fetch-site", "same-origin")]].concat(), false),
        ("POST", &[&navigates[..], &[("sec-fetch-site", "same-site")]].concat(), false),
        ("POST", &[&navigates[..], &[("sec-fetch-site", "none")]].concat(), false),
        ("POST", &[("user-agent", BROWSER), ("accept", HTML)], false),
        // One that another site has a browser send.
        ("POST", &[&navigates[..], &[("sec-fetch-site", "cross-site")]].concat(), true),
        ("POST", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors"), ("accept", HTML)], false),
        ("PUT", &[&navigates[..], &[("sec-fetch-site", "cross-site")]].concat(), false),
        ("GET", &[&navigates[..], &[("tunnel-skip-warning", "1")]].concat(), false),
        // What a page asks for itself.
        ("GET", &[("sec-fetch-mode", "cors"), ("accept", HTML), ("user-agent", BROWSER)], false),
        // A page in a page.
        ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe"), ("accept", HTML)], true),
        ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "frame"), ("accept", HTML)], true),
        ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "embed"), ("accept", "*/*")], true),
        ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "object"), ("accept", "*/*")], true),
        ("GET", &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "embed"), ("accept", "*/*")], false),
        // A page fetched ahead of time.
        ("GET", &[&navigates[..], &[("sec-purpose", "prefetch;prerender")]].concat(), true),
        (
            "GET",
            &[("sec-purpose", "prefetch"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "empty")],
            true,
        ),
        (
            "GET",
            &[("sec-purpose", "prefetch"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")],
            false,
        ),
        ("GET", &[("user-agent", BROWSER), ("accept", "*/*")], false),
        ("GET", &[("user-agent", BROWSER), ("accept", "text/event-stream")], false),
        // curl, a webhook.
        ("GET", &[("user-agent", "curl/8.5.0"), ("accept", "*/*")], false),
        ("GET", &[("user-agent", "python-requests/2.32"), ("accept", "text/html")], false),
        ("GET", &[], false),
    ] {
        let stopped = page.stops(&facts("app.test"), ip("192.0.2.1"), &request(method, "/a?b", fields));
        assert_eq!(stopped.as_deref(), expected.then_some("/a?b"), "{method} {fields:?}");
    }
    let upgrade = Facts { upgrade: Some("websocket".into()), ..facts("app.test") };
    assert!(page.stops(&upgrade, ip("192.0.2.1"), &request("GET", "/", &navigates)).is_none());
}

#[test]
fn the_button_leads_back_and_is_remembered_for_this_host_and_these_visitors() {
    let page = Interstitial::new();
    let pressed = press(&page, "app.test", "192.0.2.1", "/a/b?c=d");
    assert_eq!(
        (pressed.status(), &pressed.headers()[LOCATION]),
        (StatusCode::SEE_OTHER, &"/a/b?c=d".parse().unwrap())
    );
    let set = pressed.headers()[SET_COOKIE].to_str().unwrap();
    assert!(set.ends_with("; Path=/; Max-Age=604800; HttpOnly; SameSite=None; Secure"), "{set}");
    let cookie = cookie_of(&pressed);
    let stops = |page: &Interstitial, host: &str, visitor: &str, cookies: &str| {
        let fields = [("user-agent", BROWSER), ("accept", HTML), ("cookie", cookies)];
        page.stops(&facts(host), ip(visitor), &request("GET", "/", &fields)).is_some()
    };
    for (host, visitor, cookies, expected) in [
        ("app.test", "192.0.2.1", cookie.clone(), false),
        ("app.test", "192.0.2.77", cookie.clone(), false),
        ("app.test", "::ffff:192.0.2.1", cookie.clone(), false),
        ("app.test", "192.0.2.1", format!("x=1; tunnel-visit-4=tossed; {cookie};y=2"), false),
        // What was good for its owner is good for nobody else, and for no other host.
        ("app.test", "198.51.100.1", cookie.clone(), true),
        ("app.test", "2001:db8::1", cookie.clone(), true),
        ("other.test", "192.0.2.1", cookie.clone(), true),
        ("app.test", "192.0.2.1", String::new(), true),
        ("app.test", "192.0.2.1", "tunnel-visit-4=".into(), true),
        ("app.test", "192.0.2.1", cookie[..cookie.len() - 2].into(), true),
    ] {
        assert_eq!(stops(&page, host, visitor, &cookies), expected, "{host} {visitor} {cookies}");
    }
    assert!(stops(&Interstitial::new(), "app.test", "192.0.2.1", &cookie), "another server's key");
    let both = format!("{cookie}; {}", cookie_of(&press(&page, "app.test", "2001:db8::1", "/")));
    for visitor in ["192.0.2.1", "2001:db8::1", "2001:db8::2:1"] {
        assert!(!stops(&page, "app.test", visitor, &both), "{visitor}: browsers go by both");
    }
}

#[test]
fn the_button_leads_nowhere_else() {
    let page = Interstitial::new();
    for (target, expected) in [
        ("//evil.test/x", "/.//evil.test/x"),
        ("///evil.test", "/.///evil.test"),
        ("/?to=//evil.test", "/?to=//evil.test"),
        ("/", "/"),
    ] {
        assert_eq!(press(&page, "app.test", "192.0.2.1", target).headers()[LOCATION], expected);
    }
    let elsewhere = ["-evil", "", "@evil.test"];
    for target in elsewhere {
        let request = request("POST", &format!("{GO_ON}{target}"), &[("origin", "https://app.test")]);
        assert!(page.go_on(&named("app.test"), ip("192.0.2.1"), true, &request).is_none(), "{target}");
    }
}

#[test]
fn other_sites_cant_press_it() {
    let page = Interstitial::new();
    let press = |method: &str, fields: &[(&str, &str)]| {
        let request = request(method, &format!("{GO_ON}/x"), fields);
        page.go_on(&named("app.test"), ip("192.0.2.1"), false, &request).map(|pressed| pressed.is_ok())
    };
    for (fields, expected) in [
        (&[("origin", "http://app.test")][..], true),
        (&[("origin", "https://APP.test:8443")], true),
        (&[("origin", "https://evil.test")], false),
        (&[("origin", "https://app.test.evil.test")], false),
        (&[("origin", "https://evil.test"), ("sec-fetch-site", "same-origin")], false),
        (&[("origin", "https://app.test"), ("sec-fetch-site", "same-site")], false),
        (&[("origin", "null")], false),
        (&[], false),
    ] {
        assert_eq!(press("POST", fields), Some(expected), "{fields:?}");
    }
    assert_eq!(press("GET", &[("origin", "http://app.test")]), None, "a link is no button");
}

#[test]
fn scripts_cant_press_it() {
    let page = Interstitial::new();
    let pressed = [
        ("origin", "https://app.test"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-user", "?1"),
    ];
    for (changed, agent, expected) in [
        (("origin", "https://app.test"), BROWSER, true),
        (("sec-fetch-site", "cross-site"), BROWSER, false),
        // `fetch()`, and a form in a frame.
        (("sec-fetch-mode", "cors"), BROWSER, false),
        (("sec-fetch-mode", "same-origin"), SAFARI, false),
        (("sec-fetch-mode", ""), BROWSER, false),
        (("sec-fetch-dest", "empty"), SAFARI, false),
        (("sec-fetch-dest", "iframe"), BROWSER, false),
        // `form.submit()`, which Safari doesn't tell from a finger.
        (("sec-fetch-user", ""), BROWSER, false),
        (("sec-fetch-user", "?0"), BROWSER, false),
        (("sec-fetch-user", ""), CHROME, false),
        (("sec-fetch-user", ""), SAFARI, true),
    ] {
        let (name, value) = changed;
        let mut fields: Vec<_> = pressed.into_iter().filter(|(other, _)| *other != name).collect();
        fields.push(("user-agent", agent));
        fields.extend(Some(changed).filter(|_| !value.is_empty()));
        let request = request("POST", &format!("{GO_ON}/x"), &fields);
        let pressed = page.go_on(&named("app.test"), ip("192.0.2.1"), true, &request).unwrap();
        assert_eq!(pressed.is_ok(), expected, "{changed:?} {agent}");
    }
}
