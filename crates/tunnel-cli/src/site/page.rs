//! The pages that the small site makes itself. Everything a visitor sent is escaped.

use std::fmt::Write;

use super::request::Request;

/// A page that shows the request as it arrived behind the tunnel.
pub(super) fn sample(request: &Request) -> String {
    let mut rows = String::new();
    for (name, value) in &request.fields {
        // Writing to a string can't fail.
        let _ = write!(rows, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
    }
    let body = format!(
        "<h1>It works.</h1>\
         <p>This page comes from a small site behind a tunnel: your browser asked the server, the server passed the \
         request through the tunnel to the client, and the client fetched it here.</p>\
         <p><code>{} {}</code> arrived with:</p><table>{rows}</table>\
         <p>Next: <code>tunnel server</code> on a machine of yours, and <code>tunnel http 3000</code> on this one.</p>",
        escape(&request.method),
        escape(&request.path)
    );
    document("It works", &body)
}

/// A page that says one thing.
pub(super) fn message(text: &str) -> String {
    document(text, &format!("<h1>{}</h1>", escape(text)))
}

/// A page that lists a directory; names ending in `/` are directories.
pub(super) fn listing(path: &str, names: &[String]) -> String {
    let mut items = String::new();
    if path != "/" {
        items.push_str("<li><a href=\"../\">../</a></li>");
    }
    for name in names {
        let _ = write!(items, "<li><a href=\"./{}\">{}</a></li>", percent_encode(name), escape(name));
    }
    document(path, &format!("<h1>{}</h1><ul>{items}</ul>", escape(path)))
}

/// A name as it stands in a link.
pub(super) fn percent_encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem}}\
         th{{text-align:left;padding-right:1rem}}td,th{{font:14px monospace;vertical-align:top;word-break:break-all}}\
         </style><body>{body}</body></html>\n",
        escape(title)
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_visitor_sends_becomes_markup() {
        let request = Request {
            method: "GET".into(),
            path: "/<script>".into(),
            fields: vec![("user-agent".into(), "\"><img>".into())],
            has_body: false,
            wants_close: false,
            length: 0,
        };
        let html = sample(&request);
        assert!(!html.contains("<script>") && !html.contains("<img>"));
        assert!(html.contains("&lt;script&gt;"));
        assert!(listing("/", &["a b<.txt".into()]).contains("href=\"./a%20b%3C.txt\""));
    }
}
