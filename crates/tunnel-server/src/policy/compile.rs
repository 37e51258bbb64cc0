//! From the list a client sent to policies, or the refusal of the bind. The client's own checks are not relied on.

use std::time::Duration;

use tunnel_protocol::{BindSpec, Code, Policy, Refusal, text::printable};

use super::{HostRewrite, Policies, RateLimit};

/// The most policies one tunnel may have: they are looked at for every visitor.
const MAX: usize = 128;

/// The longest a visitor's count is kept.
const LONGEST_RATE: Duration = Duration::from_secs(24 * 3600);

/// The longest a tunnel may be told to live.
const LONGEST_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);

impl Policies {
    /// Of the list a client sent for a tunnel of this kind.
    ///
    /// # Errors
    /// The refusal of the bind: a policy that isn't known, can't be read, or isn't for this kind of tunnel.
    pub(crate) fn compile(list: Vec<Policy>, spec: &BindSpec) -> Result<Self, Refusal> {
        if list.len() > MAX {
            return Err(invalid(format!("a tunnel may have {MAX} policies")));
        }
        let mut policies = Self::default();
        for policy in &list {
            policies.add(policy, spec)?;
        }
        policies.asked = list.into_iter().filter(|policy| !matches!(policy, Policy::Expire { .. })).collect();
        Ok(policies)
    }

    fn add(&mut self, policy: &Policy, spec: &BindSpec) -> Result<(), Refusal> {
        if let Some(flag) = web_only(policy)
            && !matches!(spec, BindSpec::Http(_))
        {
            let message = format!("`{flag}` is for web tunnels; publish with `tunnel http`, or leave it out");
            return Err(invalid(message));
        }
        match policy {
            Policy::BasicAuth(login) => self.logins.get_or_insert_default().add(login)?,
            Policy::AllowNetwork { network } => self.networks.allow(read_network("--allow-cidr", network)?),
            Policy::DenyNetwork { network } => self.networks.deny(read_network("--deny-cidr", network)?),
            Policy::HostHeader { host, https } => {
                let rewrite = HostRewrite::new(host, *https).ok_or_else(|| {
                    invalid(
                        "`--host-header` names no host; write `rewrite` or a name such as `localhost:3000`",
                    )
                })?;
                once("--host-header", &mut self.host, rewrite)?;
            }
            Policy::RequestHeader(edit) => {
                self.request_fields.add(edit).map_err(|error| field("--request-header", &error))?;
            }
            Policy::ResponseHeader(edit) => {
                self.response_fields.add(edit).map_err(|error| field("--response-header", &error))?;
            }
            Policy::RateLimit { count, per_ms } => {
                let per = Duration::from_millis(*per_ms);
                if *count == 0 || per.is_zero() || per > LONGEST_RATE {
                    return Err(invalid("`--rate-limit` lets nobody in, or is over more than a day"));
                }
                once("--rate-limit", &mut self.rate, RateLimit::new(*count, per))?;
            }
            Policy::Bandwidth { bytes } => {
                if *bytes < 1_000 {
                    return Err(invalid("`--bandwidth` is less than 1 kB/s, which serves nobody"));
                }
                once("--bandwidth", &mut self.bandwidth, *bytes)?;
            }
            Policy::Compress => self.compress = true,
            Policy::SeparateStreams => self.separate_streams = true,
            Policy::Expire { left_ms } => {
                let left = Duration::from_millis(*left_ms);
                if left > LONGEST_LIFE {
                    return Err(invalid("`--expire` is more than a year away"));
                }
                once("--expire", &mut self.expire, left)?;
            }
            // New kinds come with new clients; ignored, a lock could be an open door.
            _ => {
                return Err(Refusal::permanent(
                    Code::NotSupported,
                    "this server doesn't know one of the tunnel's policies: upgrade the server, or leave it out",
                ));
            }
        }
        Ok(())
    }
}

/// The flag, if the policy makes sense on web tunnels only.
fn web_only(policy: &Policy) -> Option<&'static str> {
    match policy {
        Policy::BasicAuth(_) => Some("--basic-auth"),
        Policy::HostHeader { .. } => Some("--host-header"),
        Policy::RequestHeader(_) => Some("--request-header"),
        Policy::ResponseHeader(_) => Some("--response-header"),
        Policy::Compress => Some("--compress"),
        _ => None,
    }
}

fn once<T>(flag: &str, place: &mut Option<T>, value: T) -> Result<(), Refusal> {
    if place.is_some() {
        return Err(invalid(format!("`{flag}` is given twice")));
    }
    *place = Some(value);
    Ok(())
}

fn read_network(flag: &str, text: &str) -> Result<ipnet::IpNet, Refusal> {
    let one = text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
    one.or_else(|_| text.parse()).map_err(|_| {
        let text = printable(text, 80);
        invalid(format!("`{flag} {text}` is no network; write one such as `192.0.2.0/24`"))
    })
}

fn field(flag: &str, error: &tunnel_protocol::policy::FieldError) -> Refusal {
    invalid(format!("`{flag}`: {error}"))
}

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::permanent(Code::PolicyInvalid, message)
}

#[cfg(test)]
mod tests;
