//! Setting and removing header fields as the tunnel's owner wants.

use http::{HeaderMap, HeaderName, HeaderValue};
use tunnel_protocol::policy::{FieldEdit, FieldError};

use super::lookalikes;

/// Edits, done in the order of the list.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(HeaderName, Option<HeaderValue>)>);

impl Fields {
    pub(super) fn add(&mut self, edit: &FieldEdit) -> Result<(), FieldError> {
        let FieldEdit { name, value } = edit.clone().check()?;
        let read = HeaderName::try_from(name.as_str()).map_err(|_| FieldError::Name(name.clone()))?;
        let value = value.map(HeaderValue::try_from).transpose().map_err(|_| FieldError::Value(name))?;
        let value = value.map(|mut value| {
            // It may be a key: not in any log.
            value.set_sensitive(true);
            value
        });
        self.0.push((read, value));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does the edits in a visitor's fields. Twins of what is set or removed go too: the upstream might take them for it.
    pub(crate) fn apply_to_request(&self, headers: &mut HeaderMap) {
        if self.is_empty() {
            return;
        }
        let mut edited = self.0.iter().map(|(name, _)| name);
        if edited.any(lookalikes::has_underscore) || headers.keys().any(lookalikes::has_underscore) {
            lookalikes::remove(headers, |name| {
                let is_lookalike = |edited: &HeaderName| {
                    edited != name && lookalikes::are_alike(name.as_str(), edited.as_str())
                };
                self.0.iter().any(|(edited, _)| is_lookalike(edited))
            });
        }
        self.apply(headers);
    }

    /// Does the edits.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => drop(headers.insert(name, value.clone())),
                None => drop(headers.remove(name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_done_in_order_and_replace_all_lines() {
        let mut fields = Fields::default();
        for edit in [
            FieldEdit::set("X-A", "1"),
            FieldEdit::remove("x-b"),
            FieldEdit::set("x-a", "2"),
            FieldEdit::set("X-C", "c"),
            FieldEdit::remove("X-C"),
        ] {
            fields.add(&edit.unwrap()).unwrap();
        }
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-a", "old"), ("x-a", "older"), ("x-b", "b"), ("x-b", "b"), ("x-d", "d")] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        fields.apply(&mut headers);
        let left: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("x-a", "2"), ("x-d", "d")]);
    }

    #[test]
    fn lookalikes_of_edited_fields_are_removed() {
        for (edits, visitors, expected) in [
            (&[("X-Auth-User", Some("owner"))][..], &["x_auth_user: admin"][..], &["x-auth-user: owner"][..]),
            (
                &[("X-Auth-User", Some("owner"))],
                &["x-auth_user: a", "x_auth-user: b"],
                &["x-auth-user: owner"],
            ),
            (&[("X-Admin", None)], &["x_admin: 1", "x_admin: 2", "x-admin: 3", "x_a: 4"], &["x_a: 4"]),
            (&[("X_Admin", None)], &["x-admin: 1", "x-a: 2"], &["x-a: 2"]),
            // What the owner wants twice is had twice.
            (&[("X-A", Some("1")), ("X_A", Some("2"))], &["x_a: 3"], &["x-a: 1", "x_a: 2"]),
            (&[("X-A", Some("1")), ("X_A", None)], &["x-a: 3"], &["x-a: 1"]),
            (
                &[("X-Admin", None)],
                &["x_administrator: 1", "_x-admin: 2"],
                &["_x-admin: 2", "x_administrator: 1"],
            ),
        ] {
            let mut fields = Fields::default();
            for (name, value) in edits {
                fields.add(&FieldEdit { name: (*name).into(), value: value.map(Into::into) }).unwrap();
            }
            let lines = visitors.iter().map(|line| line.split_once(": ").unwrap());
            let mut headers: HeaderMap =
                lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            fields.apply_to_request(&mut headers);
            let left = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            let mut left: Vec<_> = left.collect();
            left.sort();
            assert_eq!(left, expected, "{edits:?} {visitors:?}");
        }
    }

    #[test]
    fn what_a_client_should_not_have_sent_is_refused() {
        for (name, value) in
            [("Host", "x"), ("Content-Length", "0"), ("X-Forwarded-For", "::1"), ("a", "b\r\nc")]
        {
            let edit = FieldEdit { name: name.into(), value: Some(value.into()) };
            assert!(Fields::default().add(&edit).is_err(), "{name}");
        }
    }
}
