//! The page: its frame, which the scripts fill.

use maud::{DOCTYPE, Markup, html};

/// The sections, as they are called and where they are.
const SECTIONS: &[(&str, &str)] = &[
    ("Overview", "#/"),
    ("Tunnels", "#/tunnels"),
    ("Clients", "#/clients"),
    ("Requests", "#/requests"),
    ("Tokens", "#/tokens"),
    ("Activity", "#/activity"),
];

pub(super) fn page() -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { "tunnel" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/style.css";
                // Before anything is painted, so not a module.
                script src="/assets/theme.js" {}
                script type="module" src="/assets/app.js" {}
            }
            body class="out" {
                a class="skip" href="#main" { "Skip to the content" }
                header {
                    div class="brand" {
                        strong { "tunnel" }
                        span id="domain" {}
                        span id="state" role="status" {}
                    }
                    nav aria-label="Sections" {
                        @for (name, place) in SECTIONS {
                            a href=(place) { (name) }
                        }
                    }
                    div class="tools" {
                        button id="theme" type="button" class="plain" { "Auto" }
                        button id="sign-out" type="button" class="plain" { "Sign out" }
                    }
                }
                main id="main" tabindex="-1" {
                    noscript { p { "The dashboard needs scripts. On the server: " code { "tunnel status" } ", " code { "tunnel ps" } "." } }
                }
                div id="notice" role="status" aria-live="polite" {}
                dialog id="dialog" {}
            }
        }
    }
}
