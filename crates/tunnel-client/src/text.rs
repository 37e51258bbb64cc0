//! Texts from the server end up on a person's terminal: none of them may move the cursor or fill the screen.

use tunnel_protocol::{Refusal, ServerMessage, Welcome, bind::PublicAddress, text::is_hidden};

/// The longest text kept, in characters.
const MAX: usize = 500;

/// A server's message with all its texts made safe to print.
pub(crate) fn clean(mut message: ServerMessage) -> ServerMessage {
    match &mut message {
        ServerMessage::Bound { address, .. } => match address {
            PublicAddress::Http { url, host, subdomain } | PublicAddress::Tls { url, host, subdomain } => {
                one_line(url);
                one_line(host);
                subdomain.iter_mut().for_each(one_line);
            }
            PublicAddress::Tcp { url, .. } | PublicAddress::Udp { url, .. } => one_line(url),
            _ => {}
        },
        ServerMessage::Refused { refusal, .. }
        | ServerMessage::Unbound { refusal, .. }
        | ServerMessage::GoAway { refusal } => one_line(&mut refusal.message),
        ServerMessage::Request(report) => {
            one_line(&mut report.method);
            one_line(&mut report.path);
            report.hint.iter_mut().for_each(one_line);
        }
        ServerMessage::Notice { message } => one_line(message),
        _ => {}
    }
    message
}

/// The same for a refused login.
pub(crate) fn clean_refusal(mut refusal: Refusal) -> Refusal {
    one_line(&mut refusal.message);
    refusal
}

/// The same for an accepted one.
pub(crate) fn clean_welcome(mut welcome: Welcome) -> Welcome {
    one_line(&mut welcome.agent);
    one_line(&mut welcome.account);
    welcome
}

/// The same for any other text that may hold some of the server's words.
pub(crate) fn printable(mut text: String) -> String {
    one_line(&mut text);
    text
}

fn one_line(text: &mut String) {
    if text.chars().any(is_hidden) || text.len() > MAX {
        *text = text.chars().take(MAX).map(|c| if is_hidden(c) { '\u{FFFD}' } else { c }).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lose_escapes_and_length_and_nothing_else() {
        let notice = |text: &str| match clean(ServerMessage::Notice { message: text.into() }) {
            ServerMessage::Notice { message } => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(notice("Grüße, 世界"), "Grüße, 世界");
        assert_eq!(notice("\x1b[2Jgone\r\n\u{202E}x"), "\u{FFFD}[2Jgone\u{FFFD}\u{FFFD}\u{FFFD}x");
        assert_eq!(notice(&"x".repeat(70_000)).len(), MAX);
    }
}
