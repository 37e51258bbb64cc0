//! Small pieces of sentences.

use std::{error::Error, fmt::Write, time::Duration};

use tunnel_protocol::text::is_hidden;

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors quote their cause already.
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    printable(&line)
}

/// A text that can't move the cursor, change colours or begin a line: what would is shown as an escape.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            // Writing to a string can't fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// `0.8 s`, `15 s`, `3 min`.
pub(crate) fn span(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f32()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// When the next try is.
pub(crate) fn next_try(after: Duration) -> String {
    if after < Duration::from_millis(50) {
        "next try now".into()
    } else {
        format!("next try in {}", span(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (millis, text) in [
            (0, "0.0 s"),
            (840, "0.8 s"),
            (1_234, "1.2 s"),
            (15_400, "15 s"),
            (180_000, "3 min"),
            (7_200_000, "2 h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
        assert_eq!(next_try(Duration::from_millis(3)), "next try now");
    }

    #[test]
    fn nothing_a_visitor_sends_reaches_the_terminal_as_a_command() {
        assert_eq!(printable("/caf\u{e9}?q=1"), "/caf\u{e9}?q=1");
        assert_eq!(printable("/\x1b[2J\r\nx\u{9b}\u{202e}"), "/\\u{1b}[2J\\r\\nx\\u{9b}\\u{202e}");
    }

    #[test]
    fn causes_are_told_once() {
        let cause = std::io::Error::other("connection refused");
        let quoting = std::io::Error::other(format!("no server: {cause}"));
        assert_eq!(chain(&quoting), "no server: connection refused");
    }
}
