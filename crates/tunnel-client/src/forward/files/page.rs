//! The pages that no file is behind. Every name is escaped: it may be anything but a slash.

use std::fmt::Write;

use super::listing::{Entry, MOST};

/// The contents of a directory that visitors know as `path`.
pub(super) fn listing(path: &str, entries: &[Entry], is_whole: bool) -> String {
    let mut rows = String::new();
    if path != "/" {
        rows.push_str("<tr><td><a href=\"../\">../</a><td>");
    }
    for Entry { is_file, name, size } in entries {
        let slash = if *is_file { "" } else { "/" };
        let size = if *is_file { shown_size(*size) } else { String::new() };
        let (link, name) = (percent_encode(name), escape(name));
        // Writing to a string can't fail. `./` keeps a colon in a name from making a scheme of what is before it.
        let _ = write!(rows, "<tr><td><a href=\"./{link}{slash}\">{name}{slash}</a><td>{size}");
    }
    let rest = if is_whole { String::new() } else { format!("<p>Only {MOST} entries are shown.</p>") };
    document(path, &format!("<h1>{}</h1><table>{rows}</table>{rest}", escape(path)))
}

/// A page that says one thing.
pub(super) fn message(text: &str) -> String {
    document(text, &format!("<h1>{}</h1>", escape(text)))
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{}</title><style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;\
         max-width:46rem;margin:3rem auto;padding:0 1rem}}td{{font:14px/1.6 monospace;padding-right:2rem;\
         overflow-wrap:anywhere}}td+td{{text-align:right;white-space:nowrap}}</style><body>{body}</body></html>\n",
        escape(title)
    )
}

/// `512 B`, `1.5 KiB`, `3.0 GiB`.
fn shown_size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

fn percent_encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
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
    fn no_name_becomes_markup_or_leads_elsewhere() {
        for (name, link, shown) in [
            ("a b<.txt", "\"./a%20b%3C.txt\"", ">a b&lt;.txt<"),
            ("\"><script>", "\"./%22%3E%3Cscript%3E\"", "&quot;&gt;&lt;script&gt;"),
            ("javascript:x", "\"./javascript%3Ax\"", ">javascript:x<"),
            ("100%2f&", "\"./100%252f%26\"", ">100%2f&amp;<"),
            ("é", "\"./%C3%A9\"", ">é<"),
        ] {
            let html = listing("/", &[Entry { is_file: true, name: name.into(), size: 0 }], true);
            assert!(html.contains(link) && html.contains(shown), "{name}: {html}");
        }
        assert!(!listing("/<x>/", &[], true).contains("<x>"));
        assert!(listing("/x/", &[], false).contains("href=\"../\""));
    }

    #[test]
    fn sizes() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (3 << 30, "3.0 GiB"),
            (5 << 50, "5120.0 TiB"),
        ] {
            assert_eq!(shown_size(bytes), shown);
        }
    }
}
