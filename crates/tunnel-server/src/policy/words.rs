//! A tunnel's policies for people who may see that they are there, and not what is secret in them.

use tunnel_protocol::{Policy, policy::FieldEdit};

use super::Policies;

impl Policies {
    /// Each policy in the words of the flag that asks for it. Logins and headers' values are left out.
    pub(crate) fn in_words(&self) -> Vec<String> {
        self.asked.iter().map(words).collect()
    }
}

fn words(policy: &Policy) -> String {
    let edit = |flag: &str, FieldEdit { name, value }: &FieldEdit| match value {
        Some(_) => format!("{flag} {name}: …"),
        None => format!("{flag} -{name}"),
    };
    match policy {
        Policy::BasicAuth(_) => "basic-auth".into(),
        Policy::AllowNetwork { network } => format!("allow-cidr {network}"),
        Policy::DenyNetwork { network } => format!("deny-cidr {network}"),
        Policy::HostHeader { host, .. } => format!("host-header {host}"),
        Policy::RequestHeader(field) => edit("request-header", field),
        Policy::ResponseHeader(field) => edit("response-header", field),
        Policy::RateLimit { count, per_ms } => format!("rate-limit {count} in {per_ms} ms"),
        Policy::Bandwidth { bytes } => format!("bandwidth {bytes} bytes/s"),
        Policy::Compress => "compress".into(),
        Policy::SeparateStreams => "separate-streams".into(),
        Policy::Expire { .. } => "expire".into(),
        // Refused at the bind.
        _ => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use tunnel_protocol::{BindSpec, bind::HostSpec, policy::BasicLogin};

    use super::*;

    #[test]
    fn nothing_secret_is_told() {
        let list = vec![
            Policy::BasicAuth(BasicLogin::new("ann:secret", [7; 16])),
            Policy::RequestHeader(FieldEdit::set("Authorization", "secret").unwrap()),
            Policy::ResponseHeader(FieldEdit::remove("Server").unwrap()),
            Policy::AllowNetwork { network: "192.0.2.0/24".into() },
            Policy::RateLimit { count: 5, per_ms: 1000 },
        ];
        let policies = Policies::compile(list, &BindSpec::from(HostSpec::default())).unwrap();
        assert_eq!(
            policies.in_words(),
            [
                "basic-auth",
                "request-header Authorization: …",
                "response-header -Server",
                "allow-cidr 192.0.2.0/24",
                "rate-limit 5 in 1000 ms",
            ]
        );
    }
}
