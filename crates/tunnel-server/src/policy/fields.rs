//! Setting and removing header fields as the tunnel's owner wants.

use http::{HeaderMap, HeaderName, HeaderValue};
use tunnel_protocol::policy::{FieldEdit, FieldError};

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
    fn what_a_client_should_not_have_sent_is_refused() {
        for (name, value) in
            [("Host", "x"), ("Content-Length", "0"), ("X-Forwarded-For", "::1"), ("a", "b\r\nc")]
        {
            let edit = FieldEdit { name: name.into(), value: Some(value.into()) };
            assert!(Fields::default().add(&edit).is_err(), "{name}");
        }
    }
}
