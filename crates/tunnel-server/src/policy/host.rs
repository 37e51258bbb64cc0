//! `--host-header`: the upstream is asked by a name it knows, and never hears of the public one.
//!
//! Many upstreams answer to `localhost:3000` only, write that into redirects and cookies, and compare `Origin` with
//! it. So it must be consistent: what a request says of the public address is said of the upstream's own, and what
//! the answer says of that is said of the public one. Nothing else is touched, bodies least of all.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_LOCATION, HOST, LOCATION, ORIGIN, REFERER, REFRESH, SET_COOKIE,
    },
    uri::Authority,
};

/// Where a WebDAV server is to move or copy something: to itself, as it compares with `Host`.
const DESTINATION: HeaderName = HeaderName::from_static("destination");
const IF: HeaderName = HeaderName::from_static("if");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The upstream's own address.
#[derive(Debug)]
pub(crate) struct HostRewrite {
    own: Site,
    value: HeaderValue,
    scheme: &'static str,
}

/// The public address of one request, for its answer.
#[derive(Debug)]
pub(crate) struct Public {
    site: Site,
    scheme: String,
    authority: String,
    /// The visitor's `Origin`, if that was the public one: the answer may have to repeat it.
    origin: Option<HeaderValue>,
}

/// A host, and a port unless it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site {
    host: String,
    port: Option<u16>,
}

impl HostRewrite {
    /// To a host with or without a port; `None` if it is none.
    pub(super) fn new(host: &str, https: bool) -> Option<Self> {
        let authority: Authority = host.parse().ok().filter(|_| !host.contains('@') && host.len() <= 255)?;
        if authority.host().is_empty() {
            return None;
        }
        let scheme = if https { "https" } else { "http" };
        Some(Self { own: Site::of(&authority, scheme), value: HeaderValue::from_str(host).ok()?, scheme })
    }

    /// Makes a request one to the upstream's own address. Its fields are otherwise as the upstream would get them.
    ///
    /// `None`, and nothing changed, if it names no host.
    pub(crate) fn to_upstream(&self, headers: &mut HeaderMap) -> Option<Public> {
        let mut public = Public::read(headers)?;
        if let Some(origin) = headers.get(ORIGIN)
            && let Some(("", theirs)) =
                origin.to_str().ok().and_then(|origin| self.own_of(origin, &public.site))
        {
            public.origin = Some(origin.clone());
            // It knows its own scheme best: it may reach us through something that ends TLS.
            if let Some((scheme, _)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) {
                public.scheme = scheme.to_owned();
            }
            set(headers, ORIGIN, &theirs);
        }
        for name in [REFERER, DESTINATION] {
            let own = headers.get(&name).and_then(|url| self.own_of(url.to_str().ok()?, &public.site));
            if let Some((path, theirs)) = own {
                let own = theirs + path;
                set(headers, name, &own);
            }
        }
        if let Some(conditions) =
            headers.get(IF).and_then(|list| self.conditions(list.to_str().ok()?, &public.site))
        {
            set(headers, IF, &conditions);
        }
        headers.insert(HOST, self.value.clone());
        // Frameworks compare these with `Origin` and the hosts they know. Who is reached by its own name is reached
        // by its own scheme as well.
        for name in [X_FORWARDED_HOST, X_FORWARDED_PORT, FORWARDED] {
            headers.remove(name);
        }
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.scheme));
        Some(public)
    }

    /// Makes an answer one from the public address.
    pub(crate) fn to_visitor(&self, headers: &mut HeaderMap, public: &Public) {
        for name in [LOCATION, CONTENT_LOCATION] {
            let translated =
                headers.get(&name).and_then(|value| self.public_of(value.to_str().ok()?, public));
            if let Some(value) = translated {
                set(headers, name, &value);
            }
        }
        if let Some(value) = headers.get(REFRESH).and_then(|value| self.refresh(value.to_str().ok()?, public))
        {
            set(headers, REFRESH, &value);
        }
        self.allow_origin(headers, public);
        self.cookies(headers, public);
    }

    /// The upstream's origin in place of the public one, and what follows it.
    fn own_of<'v>(&self, url: &'v str, public: &Site) -> Option<(&'v str, String)> {
        let (scheme, authority, rest) = split(url)?;
        let scheme = scheme?;
        (Site::of(&authority.parse().ok()?, scheme) == *public)
            .then(|| (rest, format!("{}://{}", self.scheme, self.value.to_str().unwrap_or_default())))
    }

    /// WebDAV's conditions, in which URLs are in angle brackets: `<http://app.test/file> (<opaquelocktoken:…>)`.
    fn conditions(&self, list: &str, public: &Site) -> Option<String> {
        let mut changed = false;
        let parts = list.split('<').map(|part| {
            let (url, more) = part.split_at(part.find('>').unwrap_or(part.len()));
            match self.own_of(url, public) {
                Some((rest, own)) => {
                    changed = true;
                    own + rest + more
                }
                None => part.to_owned(),
            }
        });
        let translated = parts.collect::<Vec<_>>().join("<");
        changed.then_some(translated)
    }

    /// A URL at the public address in place of one at the upstream's own.
    fn public_of(&self, url: &str, public: &Public) -> Option<String> {
        let (scheme, authority, rest) = split(url)?;
        let authority: Authority = authority.parse().ok()?;
        // A URL without a scheme (`//host/path`) has that of the page.
        if Site::of(&authority, scheme.unwrap_or(self.scheme)) != self.own
            && !self.is_own_with_port(&authority)
        {
            return None;
        }
        let scheme = if scheme.is_some() { format!("{}:", public.scheme) } else { String::new() };
        Some(format!("{scheme}//{}{rest}", public.authority))
    }

    /// Whether it is the upstream's host and port, whatever scheme it thinks it is reached by.
    fn is_own_with_port(&self, authority: &Authority) -> bool {
        authority.as_str().eq_ignore_ascii_case(self.value.to_str().unwrap_or_default())
    }

    /// `5; url=http://localhost:3000/`
    fn refresh(&self, value: &str, public: &Public) -> Option<String> {
        let at = value.to_ascii_lowercase().find("url=")? + "url=".len();
        let (before, url) = value.split_at(at);
        let quote = url.chars().next().filter(|c| ['"', '\''].contains(c));
        let bare = quote.map_or(url, |quote| url.trim_matches(quote));
        let translated = self.public_of(bare, public)?;
        let quote = quote.map(String::from).unwrap_or_default();
        Some(format!("{before}{quote}{translated}{quote}"))
    }

    fn allow_origin(&self, headers: &mut HeaderMap, public: &Public) {
        let Some(allowed) = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).and_then(|value| value.to_str().ok())
        else {
            return;
        };
        let is_origin = split(allowed).is_some_and(|(scheme, _, rest)| scheme.is_some() && rest.is_empty());
        let Some(translated) = self.public_of(allowed, public).filter(|_| is_origin) else { return };
        match &public.origin {
            Some(origin) => drop(headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())),
            None => set(headers, ACCESS_CONTROL_ALLOW_ORIGIN, &translated),
        }
    }

    fn cookies(&self, headers: &mut HeaderMap, public: &Public) {
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        let translated: Vec<_> = cookies.iter().map(|cookie| self.cookie(cookie, public)).collect();
        if translated.iter().all(Option::is_none) {
            return;
        }
        headers.remove(SET_COOKIE);
        for (cookie, translated) in cookies.into_iter().zip(translated) {
            headers.append(SET_COOKIE, translated.unwrap_or(cookie));
        }
    }

    /// A cookie for the public host in place of one for the upstream's or a domain above it.
    fn cookie(&self, cookie: &HeaderValue, public: &Public) -> Option<HeaderValue> {
        let text = str::from_utf8(cookie.as_bytes()).ok()?;
        let mut changed = false;
        let attributes = text.split(';').enumerate().map(|(n, attribute)| {
            let domain = attribute.split_once('=').filter(|(name, domain)| {
                n > 0 && name.trim().eq_ignore_ascii_case("domain") && self.is_covered_by(domain.trim())
            });
            match domain {
                Some((name, _)) => {
                    changed = true;
                    format!("{name}={}", public.site.host)
                }
                None => attribute.to_owned(),
            }
        });
        let cookie = attributes.collect::<Vec<_>>().join(";");
        if changed { HeaderValue::try_from(cookie).ok() } else { None }
    }

    fn is_covered_by(&self, domain: &str) -> bool {
        let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
        let above = self.own.host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
        !domain.is_empty() && (domain == self.own.host || above)
    }
}

impl Public {
    /// From what the upstream would be told.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let authority = headers.get(HOST)?.to_str().ok()?.to_owned();
        let told = headers.get(X_FORWARDED_PROTO).and_then(|scheme| scheme.to_str().ok());
        let scheme = told.map(|told| told.rsplit(',').next().unwrap_or(told).trim());
        let scheme = scheme.filter(|scheme| *scheme == "https").unwrap_or("http").to_owned();
        let site = Site::of(&authority.parse().ok()?, &scheme);
        Some(Self { site, scheme, authority, origin: None })
    }
}

impl Site {
    fn of(authority: &Authority, scheme: &str) -> Self {
        let own_port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        let port = authority.port_u16().filter(|port| *port != own_port);
        Self { host: authority.host().trim_end_matches('.').to_ascii_lowercase(), port }
    }
}

/// Scheme, authority and the rest of an `http` or `https` URL with an authority; with no scheme if it begins with
/// `//`.
fn split(url: &str) -> Option<(Option<&str>, &str, &str)> {
    let (scheme, rest) = match url.strip_prefix("//") {
        Some(rest) => (None, rest),
        None => {
            let (scheme, rest) = url.split_once("://")?;
            (Some(scheme), rest)
        }
    };
    if scheme.is_some_and(|scheme| !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)))
    {
        return None;
    }
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    // `user@host` names another host to some readers than to others.
    (!authority.is_empty() && !authority.contains('@')).then_some((scheme, authority, rest))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
