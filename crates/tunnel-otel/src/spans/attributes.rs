//! Attributes of spans.

use std::time::Duration;

use crate::message::{AnyValue, KeyValue, Value};

pub(crate) fn text(key: &str, text: impl Into<String>) -> KeyValue {
    attribute(key, Value::Text(text.into()))
}

pub(super) fn number(key: &str, number: impl TryInto<i64>) -> KeyValue {
    attribute(key, Value::Int(number.try_into().unwrap_or(i64::MAX)))
}

pub(super) fn flag(key: &str, flag: bool) -> KeyValue {
    attribute(key, Value::Bool(flag))
}

pub(super) fn millis(key: &str, duration: Duration) -> KeyValue {
    attribute(key, Value::Double(duration.as_secs_f64() * 1e3))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
