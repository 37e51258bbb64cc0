//! What the servers really answer, word for word, and what only looks like it.

use bytes::Bytes;
use http_body::Frame;

use super::*;

const VITE: &str = "Blocked request. This host (\"app.vps.test\") is not allowed.\nTo allow this host, add \
                    \"app.vps.test\" to `server.allowedHosts` in vite.config.js.";

const ANGULAR: &str = "<!doctype html>\n<html>\n<body><main>\n<h1>Blocked request. This host (\"app.vps.test\") is not \
                       allowed.</h1>\n<p>To allow this host, add it to <code>allowedHosts</code> under the \
                       <code>serve</code> target in <code>angular.json</code>.</p></main></body></html>";

const RAILS: &str = "<header>\n  <h1>Blocked hosts: app.vps.test</h1>\n</header>\n<main role=\"main\" id=\"container\">\n\
                     <pre>config.hosts &lt;&lt; \"app.vps.test\"</pre>\n</main>";

const RAILS_6: &str = "Blocked host: app.vps.test\n\nTo allow requests to app.vps.test, add the following to your \
                       environment configuration:\n\n    config.hosts << \"app.vps.test\"";

const DJANGO: &str = "<!DOCTYPE html>\n<title>DisallowedHost\n          at /</title>\n<pre>Invalid HTTP_HOST header: \
                      &#x27;app.vps.test&#x27;. You may need to add &#x27;app.vps.test&#x27; to ALLOWED_HOSTS.</pre>";

const FLASK: &str = "<!doctype html>\n<html lang=en>\n<title>400 Bad Request</title>\n<h1>Bad Request</h1>\n\
                     <p>Host &#39;app.vps.test&#39; is not trusted.</p>";

#[test]
fn the_servers_are_known_by_their_words() {
    let name = |status: u16, text: &str, path: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        find(status, text.as_bytes(), path).map(|server| server.name)
    };
    for (status, text, path, expected) in [
        (403, VITE, "/", Some("Vite")),
        (403, ANGULAR, "/", Some("Angular")),
        (403, "Invalid Host header", "/", Some("webpack-dev-server")),
        (200, "Invalid Host header", "/", Some("webpack-dev-server")),
        (403, "Unauthorized", "/_next/webpack-hmr?id=1", Some("Next.js")),
        (403, "Unauthorized", "/__nextjs_font/x", Some("Next.js")),
        (403, RAILS, "/", Some("Rails")),
        (403, RAILS_6, "/", Some("Rails")),
        (400, DJANGO, "/", Some("Django")),
        (400, FLASK, "/", Some("Flask")),
        (400, "Invalid host header", "/", Some("Starlette")),
        // The same words with another status, or at another place, are somebody's page.
        (400, VITE, "/", None),
        (404, VITE, "/", None),
        (403, DJANGO, "/", None),
        (403, "Unauthorized", "/api", None),
        (403, "How I got rid of: Invalid Host header", "/", None),
        (403, "A page about Blocked hosts in Rails", "/", None),
        (400, "This certificate is not trusted.", "/", None),
        (403, "", "/", None),
    ] {
        assert_eq!(name(status, text, path), expected, "{status} {text}");
    }
}

#[test]
fn a_hint_names_the_flag_and_the_setting() {
    let server = find(StatusCode::FORBIDDEN, VITE.as_bytes(), "/").unwrap();
    let hint = server.hint("app.vps.test");
    for word in ["Vite", "app.vps.test", "--host-header rewrite", "server.allowedHosts"] {
        assert!(hint.contains(word), "{hint}");
    }
    assert!(!hint.contains('\n'));
}

#[tokio::test]
async fn an_answer_that_is_none_is_whole() {
    let words = "x".repeat(40_000);
    let frames =
        || words.as_bytes().chunks(9_000).map(|part| Frame::data(Bytes::copy_from_slice(part))).collect();
    for kind in ["text/html", "application/json"] {
        let response = Response::builder().status(403).header(CONTENT_TYPE, kind);
        let response = response.body(Inbound::begun(frames(), Inbound::Empty)).unwrap();
        let Ok(Err(response)) = recognise(response, &Uri::from_static("/")).await else { panic!("{kind}") };
        let body = response.into_body();
        assert_eq!(body.size_hint().exact(), Some(40_000));
        assert_eq!(body.collect().await.unwrap().to_bytes(), words.as_bytes());
    }
    let body = Inbound::begun(vec![Frame::data(VITE.into())], Inbound::Empty);
    let response = Response::builder().status(403).body(body).unwrap();
    assert!(
        matches!(recognise(response, &Uri::from_static("/")).await, Ok(Ok(server)) if server.name == "Vite")
    );
}
