//! The text format's own rules: one head for each metric, labels quoted.

use std::fmt::Write;

/// Writes metrics one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer(String);

/// One metric, whose values are written.
#[derive(Debug)]
pub(super) struct Metric<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Writer {
    /// Begins something that only grows; its name ends in `_total`.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Metric<'_> {
        self.begin(name, help, "counter")
    }

    /// Begins something that goes up and down.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Metric<'_> {
        self.begin(name, help, "gauge")
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn begin(&mut self, name: &'static str, help: &str, kind: &str) -> Metric<'_> {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Metric { text: &mut self.0, name }
    }
}

impl Metric<'_> {
    pub(super) fn count(&mut self, labels: &[(&str, &str)], value: u64) {
        self.line(labels, &value.to_string());
    }

    pub(super) fn value(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line(labels, &value.to_string());
    }

    fn line(&mut self, labels: &[(&str, &str)], value: &str) {
        self.text.push_str(self.name);
        for (at, (name, label)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"{}\"", escaped(label));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_a_head_and_its_lines() {
        let mut out = Writer::default();
        out.gauge("a", "What.").value(&[], 1.5);
        let mut counter = out.counter("b_total", "More.");
        counter.count(&[("x", "y"), ("z", "\"\\\n")], 2);
        assert_eq!(
            out.into_text(),
            "# HELP a What.\n# TYPE a gauge\na 1.5\n# HELP b_total More.\n# TYPE b_total counter\n\
             b_total{x=\"y\",z=\"\\\"\\\\\\n\"} 2\n"
        );
    }
}
