//! One page: a line for each measure, a column for each system, ratios, and the targets.

use std::fmt::Write as _;

use super::Run;
use crate::bench::measures::{Bound, MEASURES, Reference, TARGETS};
use crate::bench::samples::{Samples, Summary};
use crate::bench::systems::{DIRECT, RATHOLE, TUNNEL, TUNNEL_PLAIN};

/// Columns of ratios: whose figure is divided by whose.
const RATIOS: [(&str, &str); 3] = [(TUNNEL, DIRECT), (TUNNEL, RATHOLE), (TUNNEL_PLAIN, RATHOLE)];

/// The page.
pub(in crate::bench) fn page(run: &Run<'_>, systems: &[&str], samples: &Samples) -> String {
    let mut page = String::new();
    let Run { machine, rounds, seconds } = run;
    // Writing to a string can't fail.
    let _ = writeln!(page, "{machine}.\n{rounds} rounds of {seconds} s; median (lowest–highest).\n");
    page.push_str(&table(systems, samples));
    page.push_str(&targets(samples));
    page
}

fn table(systems: &[&str], samples: &Samples) -> String {
    let ratios: Vec<_> =
        RATIOS.into_iter().filter(|(a, b)| systems.contains(a) && systems.contains(b)).collect();
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(systems.iter().map(|system| (*system).to_owned()));
    rows[0].extend(ratios.iter().map(|(a, b)| format!("{a} ÷ {b}")));
    for measure in MEASURES {
        let cells = systems.iter().map(|system| cell(samples.of(measure.key, system)));
        let mut row = vec![measure.title.to_owned()];
        row.extend(cells);
        if row[1..].iter().all(String::is_empty) {
            continue;
        }
        row.extend(ratios.iter().map(|(a, b)| {
            let ratio = Summary::of(samples.ratios(measure.key, a, b)).map(|ratio| ratio.median);
            // Nothing lost ÷ nothing lost says nothing.
            ratio.filter(|ratio| ratio.is_finite()).map_or_else(String::new, short)
        }));
        rows.push(row);
    }
    aligned(&rows)
}

/// Rows as a Markdown table that can be read as it stands; the first row is the heading.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut table = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(table, "| {cell:<width$} ")
            } else {
                write!(table, "| {cell:>width$} ")
            };
        }
        table.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width - 1);
                let _ =
                    if column == 0 { write!(table, "| {dashes}- ") } else { write!(table, "| {dashes}: ") };
            }
            table.push_str("|\n");
        }
    }
    table
}

fn targets(samples: &Samples) -> String {
    let mut lines = String::new();
    for target in TARGETS {
        let (against, ratios) = match target.to {
            Reference::System(system) => {
                (format!(" ÷ {system}"), samples.ratios(target.key, target.of, system))
            }
            Reference::Figure(figure) => {
                let samples = samples.of(target.key, target.of);
                (String::new(), samples.into_iter().map(|sample| sample / figure).collect())
            }
        };
        let Some(ratio) = Summary::of(ratios) else { continue };
        let verdict = if target.bound.holds(ratio.median) { "holds " } else { "MISSED" };
        let (sign, limit) = match target.bound {
            Bound::AtMost(limit) => ('≤', limit),
            Bound::AtLeast(limit) => ('≥', limit),
        };
        let _ = writeln!(
            lines,
            "- {verdict} {}: {}{against} = {} (wanted {sign} {limit})",
            target.what,
            target.of,
            in_full(ratio)
        );
    }
    if lines.is_empty() { lines } else { format!("\nTargets, each within one round:\n\n{lines}") }
}

fn cell(samples: Vec<f64>) -> String {
    Summary::of(samples).map_or_else(String::new, in_full)
}

fn in_full(Summary { median, min, max }: Summary) -> String {
    if min == max { short(median) } else { format!("{} ({}–{})", short(median), short(min), short(max)) }
}

/// Three digits: more would claim to know more.
fn short(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".into(),
        size if size >= 1000.0 => thousands((figure / 100.0).round() * 100.0),
        size if size >= 99.95 => format!("{figure:.0}"),
        size if size >= 9.995 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

fn thousands(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits() {
        let shown = [0.0, 0.123, 1.499, 12.34, 99.96, 123.4, 1234.0, 1_234_567.0].map(short);
        assert_eq!(shown, ["0", "0.12", "1.50", "12.3", "100", "123", "1,200", "1,234,600"]);
    }

    #[test]
    fn a_table_has_the_lines_that_were_measured() {
        let mut samples = Samples::default();
        for (round, (direct, tunnel)) in
            [(3000.0, 600.0), (1000.0, 500.0), (2000.0, 700.0)].into_iter().enumerate()
        {
            let round = u32::try_from(round).unwrap();
            samples.add(round, DIRECT, vec![("down.1.rate", direct)]);
            samples.add(round, TUNNEL, vec![("down.1.rate", tunnel), ("visitor.server", 7.0)]);
        }
        let table = table(&[DIRECT, TUNNEL], &samples);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines[2].contains("2,000 (1,000–3,000) | 600 (500–700) |            0.35 |"), "{table}");
        assert!(
            targets(&samples).contains("- holds  KiB per idle visitor, server: tunnel = 7.00 (wanted ≤ 8)")
        );
    }
}
