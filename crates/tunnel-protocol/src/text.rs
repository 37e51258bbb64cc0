//! What the other side wrote, on its way to a person's terminal or log.

/// Whether a terminal obeys a character instead of showing it, or shows nothing: what moves the cursor or begins a
/// line, what turns the reading direction, and what hides in a word that then looks like another one.
///
/// These are Unicode's `Cc`, `Zl` and `Zp`, and `Cf` but for the few that are drawn (signs before Arabic, Syriac and
/// Kaithi numbers, joints of hieroglyphs). Emoji of several joined by U+200D fall apart; no name needs them.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' // soft hyphen
            | '\u{61C}' // Arabic letter mark
            | '\u{180E}' // Mongolian vowel separator
            | '\u{200B}'..='\u{200F}' // zero width, and marks of direction
            | '\u{2028}'..='\u{202E}' // ends of lines and paragraphs; embeddings and overrides
            | '\u{2060}'..='\u{206F}' // word joiner, invisible operators, isolates, deprecated ones
            | '\u{FEFF}' // byte order mark
            | '\u{FFF9}'..='\u{FFFB}' // interlinear annotations
            | '\u{1BCA0}'..='\u{1BCA3}' // shorthand
            | '\u{1D173}'..='\u{1D17A}' // music
            | '\u{E0000}'..='\u{E007F}' // tags
        )
}

/// A text without what [`is_hidden`], and no longer than `max` characters.
pub fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|c| !is_hidden(*c)).take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_is_seen() {
        for (text, expected) in [
            ("Grüße, 世界 🦀, مرحبا", "Grüße, 世界 🦀, مرحبا"),
            ("\u{1b}[2Jgone\r\n\t\u{7f}\u{9b}x", "[2Jgonex"),
            // Turned around.
            ("gpj.\u{202E}exe\u{202C}", "gpj.exe"),
            ("\u{2066}a\u{2069}\u{200E}\u{200F}\u{61C}b\u{202A}\u{206F}", "ab"),
            // New lines that aren't control characters.
            ("a\u{2028}b\u{2029}c\u{85}d", "abcd"),
            // Nothing to see.
            ("a\u{200B}\u{200C}\u{200D}d\u{2060}\u{FEFF}m\u{AD}i\u{180E}n", "admin"),
            ("x\u{FFF9}\u{FFFB}\u{1BCA0}\u{1D173}\u{E0001}\u{E0020}\u{E007F}y", "xy"),
            // Neighbours of all these.
            (
                "\u{AC}\u{AE}\u{2010}\u{2027}\u{202F}\u{205F}\u{2070}\u{FFFC}",
                "\u{AC}\u{AE}\u{2010}\u{2027}\u{202F}\u{205F}\u{2070}\u{FFFC}",
            ),
        ] {
            assert_eq!(printable(text, 80), expected, "{text:?}");
        }
        assert_eq!(printable("a\u{202E}äbc", 2), "aä", "cut to what is left, by characters");
    }
}
