//! What a failure looks like to each kind of visitor.

use super::*;
use crate::contact::Contact;

fn asked(accept: &str, method: Method) -> Asked {
    let request = Request::builder().method(method).header(ACCEPT, accept).body(()).unwrap();
    Asked::new(RequestId(0xabc), &request)
}

fn config() -> Config {
    Config::new(Hostname::parse("vps.test").unwrap())
}

fn body(response: &Response<Bytes>) -> &str {
    str::from_utf8(response.body()).unwrap()
}

#[test]
fn every_reason_a_visitor_can_meet_has_its_status() {
    for (code, expected, retry) in [
        (Code::TunnelNotFound, 404, None),
        (Code::TunnelAway, 503, Some("5")),
        (Code::TooManyVisitors, 503, Some("1")),
        (Code::ClientBusy, 503, Some("1")),
        (Code::UpstreamRefused, 502, None),
        (Code::UpstreamUnreachable, 502, None),
        (Code::UpstreamTimeout, 504, None),
        (Code::UpstreamBroken, 502, None),
        (Code::UpstreamMalformed, 502, None),
        (Code::BadRequest, 400, None),
        (Code::HeadTooLarge, 431, None),
        (Code::RequestTimeout, 408, None),
        (Code::MethodNotAllowed, 405, None),
        (Code::VersionNotSupported, 505, None),
        (Code::Misdirected, 421, None),
        (Code::AuthRequired, 401, None),
        (Code::AddressNotAllowed, 403, None),
        (Code::UpstreamHostRefused, 403, None),
        (Code::TunnelPaused, 503, None),
        (Code::RateLimited, 429, None),
        (Code::FirstVisit, 403, None),
        (Code::Overloaded, 503, Some("5")),
        (Code::Internal, 500, None),
    ] {
        let response = asked("*/*", Method::GET).respond(&Failure::new(code), &config());
        let headers = response.headers();
        assert_eq!(response.status(), expected, "{code}");
        assert_eq!(headers[TUNNEL_ERROR], code.name());
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap()), retry, "{code}");
        assert_eq!(headers.contains_key(WWW_AUTHENTICATE), code == Code::AuthRequired);
        assert_eq!(headers.contains_key(ALLOW), code == Code::MethodNotAllowed);
        assert!(body(&response).contains(code.name()) && body(&response).contains("00000abc"), "{code}");
    }
}

#[test]
fn a_failed_dispatch_is_named_by_who_failed() {
    let broken = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    for (error, code) in [
        (DispatchError::Absent(Absent::Gone), Code::TunnelNotFound),
        (DispatchError::Absent(Absent::Away), Code::TunnelAway),
        (DispatchError::Absent(Absent::Crowded), Code::TunnelAway),
        (DispatchError::Full, Code::TooManyVisitors),
        (DispatchError::LaneLost, Code::UpstreamBroken),
        (DispatchError::Broken(broken()), Code::UpstreamBroken),
        (DispatchError::Refused(Code::UpstreamRefused), Code::UpstreamRefused),
        (DispatchError::Refused(Code::UpstreamTimeout), Code::UpstreamTimeout),
        (DispatchError::Refused(Code::ClientBusy), Code::ClientBusy),
        (DispatchError::Refused(Code::NoSuchTunnel), Code::TunnelAway),
        // A client says what it likes; a visitor is only told what makes sense for a visitor.
        (DispatchError::Refused(Code::Unauthorized), Code::UpstreamBroken),
        (DispatchError::Refused(Code::Unknown), Code::UpstreamBroken),
    ] {
        let shown = error.to_string();
        assert_eq!(Failure::from(error).code(), code, "{shown}");
    }
}

#[test]
fn the_body_is_what_the_visitor_reads() {
    let failure = || {
        let host = Hostname::parse("app.example.com").unwrap();
        Failure::new(Code::UpstreamRefused).at(host).through(Some("localhost:3000".into()))
    };
    let browser = asked("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Method::GET);
    let page = browser.respond(&failure(), &config());
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    assert!(page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'none';"));
    assert!(
        body(&page).contains("nothing answered at localhost:3000 (connection refused)"),
        "{}",
        body(&page)
    );

    let json = asked("application/json", Method::GET).respond(&failure(), &config());
    assert_eq!(json.headers()[CONTENT_TYPE], "application/json");
    assert!(body(&json).starts_with("{\"error\":\"upstream-refused\",\"message\":\"The request reached"));
    assert!(body(&json).ends_with("\"request\":\"00000000000000000000000000000abc\"}\n"));

    let text = asked("*/*", Method::GET).respond(&failure(), &config());
    assert_eq!(text.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert!(body(&text).starts_with("502 Nothing answers behind the tunnel\n\nThe request reached"));

    let head = asked("text/html", Method::HEAD).respond(&failure(), &config());
    assert_eq!((head.status().as_u16(), body(&head)), (502, ""));
}

#[test]
fn policies_say_what_is_missing_and_when_it_is_worth_coming_back() {
    let respond = |failure: Failure| asked("*/*", Method::GET).respond(&failure, &config());
    let host = || Hostname::parse("app.example.com").unwrap();
    let login = respond(Failure::new(Code::AuthRequired).at(host()));
    assert_eq!(login.headers()[WWW_AUTHENTICATE], "Basic realm=\"app.example.com\", charset=\"UTF-8\"");
    for (millis, seconds) in [(1, "1"), (1_000, "1"), (1_001, "2"), (60_000, "60")] {
        let limited =
            respond(Failure::new(Code::RateLimited).after(Duration::from_millis(millis)).at(host()));
        assert_eq!(limited.headers()[RETRY_AFTER], seconds);
    }
    let status = StatusCode::BAD_REQUEST;
    let refused = Failure::new(Code::UpstreamHostRefused).because("Django").with_status(status).at(host());
    let refused = respond(refused.through(Some("localhost:8000".into())));
    assert_eq!(
        (refused.status(), &refused.headers()[TUNNEL_ERROR]),
        (status, &"upstream-host-refused".parse().unwrap())
    );
    assert!(body(&refused).contains("--host-header rewrite") && body(&refused).contains("Django"));
}

#[test]
fn what_others_say_is_shown_and_not_obeyed() {
    let hostile: Arc<str> = "<script>alert('x')</script>\x1b[31m\u{202e}\"\\\r\nX: y".into();
    let failure = || Failure::new(Code::UpstreamRefused).through(Some(hostile.clone()));
    let html = asked("text/html", Method::GET).respond(&failure(), &config());
    assert!(
        body(&html).contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;[31m&quot;"),
        "{}",
        body(&html)
    );
    assert!(!body(&html).contains(['\x1b', '\u{202e}']));
    let json = asked("application/json", Method::GET).respond(&failure(), &config());
    assert!(body(&json).contains(r#"</script>\u001b[31m\u202e\"\\\u000d\u000aX: y"#), "{}", body(&json));
    let text = asked("", Method::GET).respond(&failure(), &config());
    assert!(!body(&text).contains(['\x1b', '\u{202e}', '\r']), "{}", body(&text));
}

#[test]
fn the_contact_is_on_every_page_of_a_server_that_has_one() {
    let contact = |text| Config { abuse_contact: Some(Contact::parse(text).unwrap()), ..config() };
    let respond = |accept, config: &Config| {
        let failure = Failure::new(Code::TunnelNotFound).at(Hostname::parse("app.vps.test").unwrap());
        body(&asked(accept, Method::GET).respond(&failure, config)).to_owned()
    };
    let email = contact("abuse@vps.test");
    let html = respond("text/html", &email);
    assert!(html.contains("<a rel=\"nofollow\" href=\"mailto:abuse@vps.test\">abuse@vps.test</a>"), "{html}");
    assert!(respond("*/*", &email).contains("\nReport abuse: abuse@vps.test\n"));
    assert!(respond("application/json", &email).ends_with(",\"report_abuse\":\"abuse@vps.test\"}\n"));
    let url = respond("text/html", &contact("https://vps.test/abuse?a=1&b='"));
    assert!(url.contains("href=\"https://vps.test/abuse?a=1&amp;b=&#39;\""), "{url}");
    assert!(!respond("text/html", &config()).contains("abuse"));
}

#[test]
fn the_warning_has_a_button_that_leads_on_and_nowhere_else() {
    let failure = |path: &str| {
        Failure::new(Code::FirstVisit).at(Hostname::parse("app.vps.test").unwrap()).before(path.to_owned())
    };
    let page = asked("text/html", Method::GET).respond(&failure("/a?b=\"><script>&c"), &config());
    let html = body(&page);
    assert!(
        html.contains("action=\"/.well-known/tunnel/go-on/a?b=&quot;&gt;&lt;script&gt;&amp;c\"><button>"),
        "{html}"
    );
    assert!(
        html.contains("Go on to app.vps.test") && html.contains("who uses the server vps.test"),
        "{html}"
    );
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("form-action 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!html.contains("<script"));
}
