//! The messages of OTLP, as far as we have something to say in them: `opentelemetry/proto` of OpenTelemetry's protocol,
//! version 1, in which fields keep their numbers for ever. A reader passes over what it doesn't know.

/// The kind of a span whose work somebody else asked for.
pub const SERVER: i32 = 2;

/// The code of a status that something went wrong.
pub const ERROR: i32 = 2;

/// What is sent: `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportRequest {
    /// Spans by where they come from.
    #[prost(message, repeated, tag = 1)]
    pub resource_spans: Vec<ResourceSpans>,
}

/// The answer: `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportResponse {
    /// There if not all was taken.
    #[prost(message, optional, tag = 1)]
    pub partial_success: Option<PartialSuccess>,
}

/// What wasn't taken.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PartialSuccess {
    /// How many spans.
    #[prost(int64, tag = 1)]
    pub rejected_spans: i64,
    /// Why.
    #[prost(string, tag = 2)]
    pub error_message: String,
}

/// Spans of one process.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResourceSpans {
    /// Which.
    #[prost(message, optional, tag = 1)]
    pub resource: Option<Resource>,
    /// Its spans by what made them.
    #[prost(message, repeated, tag = 2)]
    pub scope_spans: Vec<ScopeSpans>,
}

/// A process.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// What is said of it.
    #[prost(message, repeated, tag = 1)]
    pub attributes: Vec<KeyValue>,
}

/// Spans that one library made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScopeSpans {
    /// Which.
    #[prost(message, optional, tag = 1)]
    pub scope: Option<Scope>,
    /// The spans.
    #[prost(message, repeated, tag = 2)]
    pub spans: Vec<Span>,
}

/// A library: `InstrumentationScope`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = 1)]
    pub name: String,
    /// Its version.
    #[prost(string, tag = 2)]
    pub version: String,
}

/// Something that took its time.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    /// The trace, of 16 bytes.
    #[prost(bytes = "vec", tag = 1)]
    pub trace_id: Vec<u8>,
    /// This span, of 8 bytes.
    #[prost(bytes = "vec", tag = 2)]
    pub span_id: Vec<u8>,
    /// The span that it is a part of, of 8 bytes, or of none.
    #[prost(bytes = "vec", tag = 4)]
    pub parent_span_id: Vec<u8>,
    /// What it is called: few different names.
    #[prost(string, tag = 5)]
    pub name: String,
    /// Whose work it is, such as [`SERVER`].
    #[prost(int32, tag = 6)]
    pub kind: i32,
    /// When it began, in nanoseconds since 1970.
    #[prost(fixed64, tag = 7)]
    pub start_time_unix_nano: u64,
    /// When it was over.
    #[prost(fixed64, tag = 8)]
    pub end_time_unix_nano: u64,
    /// What is said of it.
    #[prost(message, repeated, tag = 9)]
    pub attributes: Vec<KeyValue>,
    /// What happened in it.
    #[prost(message, repeated, tag = 11)]
    pub events: Vec<SpanEvent>,
    /// How many events were left out.
    #[prost(uint32, tag = 12)]
    pub dropped_events_count: u32,
    /// Whether it went wrong; nothing if not.
    #[prost(message, optional, tag = 15)]
    pub status: Option<Status>,
    /// The flags of its `traceparent`, and above them whether its parent is another process's.
    #[prost(fixed32, tag = 16)]
    pub flags: u32,
}

/// Something that happened at one moment.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SpanEvent {
    /// When, in nanoseconds since 1970.
    #[prost(fixed64, tag = 1)]
    pub time_unix_nano: u64,
    /// What.
    #[prost(string, tag = 2)]
    pub name: String,
    /// What is said of it.
    #[prost(message, repeated, tag = 3)]
    pub attributes: Vec<KeyValue>,
}

/// How a span ended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// For people.
    #[prost(string, tag = 2)]
    pub message: String,
    /// Such as [`ERROR`].
    #[prost(int32, tag = 3)]
    pub code: i32,
}

/// An attribute.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = 1)]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = 2)]
    pub value: Option<AnyValue>,
}

/// A value, of one kind or another.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AnyValue {
    /// The value.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    pub value: Option<Value>,
}

/// The kinds of values.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    /// `string_value`
    #[prost(string, tag = 1)]
    Text(String),
    /// `bool_value`
    #[prost(bool, tag = 2)]
    Bool(bool),
    /// `int_value`
    #[prost(int64, tag = 3)]
    Int(i64),
    /// `double_value`
    #[prost(double, tag = 4)]
    Double(f64),
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) }
    }

    /// Made of OpenTelemetry's own definitions (the Python package `opentelemetry-proto` 1.45).
    #[test]
    fn the_bytes_are_those_of_others() {
        let span = Span {
            trace_id: (0..16).collect(),
            span_id: (0..8).collect(),
            parent_span_id: (8..16).collect(),
            name: "GET".into(),
            kind: SERVER,
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            attributes: vec![
                attribute("t", Value::Text("x".into())),
                attribute("b", Value::Bool(true)),
                attribute("i", Value::Int(-1)),
                attribute("d", Value::Double(0.5)),
            ],
            events: vec![SpanEvent {
                time_unix_nano: 3,
                name: "tunnel up".into(),
                attributes: vec![attribute("u", Value::Text("v".into()))],
            }],
            dropped_events_count: 4,
            status: Some(Status { message: "m".into(), code: ERROR }),
            flags: 0x301,
        };
        let scope = Some(Scope { name: "tunnel-otel".into(), version: "0.1.0".into() });
        let attributes = vec![attribute("service.name", Value::Text("edge".into()))];
        let scope_spans = vec![ScopeSpans { scope, spans: vec![span] }];
        let resource = Some(Resource { attributes });
        let request = ExportRequest { resource_spans: vec![ResourceSpans { resource, scope_spans }] };
        assert_eq!(
            hex(&request.encode_to_vec()),
            "0ad9010a180a160a0c736572766963652e6e616d6512060a046564676512bc010a140a0b74756e6e656c2d6f74656c\
             1205302e312e3012a3010a10000102030405060708090a0b0c0d0e0f12080001020304050607220808090a0b0c0d0e0f\
             2a0347455430023901000000000000004102000000000000004a080a017412030a01784a070a0162120210014a100a01\
             69120b18ffffffffffffffffff014a0e0a0164120921000000000000e03f5a1e090300000000000000120974756e6e65\
             6c2075701a080a017512030a017660047a0512016d1802850101030000"
        );
        let answer =
            ExportResponse::decode(&[0x0a, 6, 0x08, 5, 0x12, 2, b'n', b'o'][..]).unwrap().partial_success;
        assert_eq!(answer, Some(PartialSuccess { rejected_spans: 5, error_message: "no".into() }));
    }
}
