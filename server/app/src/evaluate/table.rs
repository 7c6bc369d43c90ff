//! A measurement as a table for people: on the terminal and as Markdown.

use std::fmt::Write;

use super::report::{Figures, LabelFigures, Moments, Report};

/// The table for a terminal.
pub fn text(report: &Report) -> String {
    let mut out = headline(report);
    let mut row = |head: &str, cells: &[String]| {
        let _ = write!(out, "\n{head:<28}");
        cells.iter().for_each(|cell| {
            let _ = write!(out, " {cell:>15}");
        });
    };
    columns(report).into_iter().for_each(|(head, cells)| row(&head, &cells));
    out.push('\n');
    for line in notes(report) {
        let _ = write!(out, "\n{line}");
    }
    out
}

/// The same as Markdown, each target in a row of its own below.
pub fn markdown(report: &Report) -> String {
    let mut out = format!("# {}\n\n{}\n", report.protocol, headline(report));
    table(&mut out, &columns(report));
    for line in notes(report) {
        let _ = write!(out, "\n- {line}");
    }
    out.push_str("\n\n## Targets\n");
    table(&mut out, &targets(report));
    if !report.curve.is_empty() {
        out.push_str("\n## Patients in the bank\n");
        table(&mut out, &curve(report));
    }
    out
}

type Rows = Vec<(String, Vec<String>)>;

fn table(out: &mut String, rows: &Rows) {
    for (index, (head, cells)) in rows.iter().enumerate() {
        let _ = write!(out, "\n| {head} | {} |", cells.join(" | "));
        if index == 0 {
            let _ = write!(out, "\n|---|{}", "---|".repeat(cells.len()));
        }
    }
    out.push('\n');
}

fn headline(report: &Report) -> String {
    format!(
        "{}: {} exemplar cases, {} targets, bundle {}",
        report.protocol,
        report.exemplar_cases,
        report.targets.len(),
        report.bundle
    )
}

/// A row a label: Dice, distances, and the Dice of other methods.
fn columns(report: &Report) -> Rows {
    let mut head = vec!["Dice".to_owned(), "HD95 mm".to_owned(), "distance mm".to_owned()];
    head.extend(report.baselines.keys().map(|method| format!("{method} Dice")));
    let mut rows = vec![("label".to_owned(), head)];
    for (label, figures) in &report.labels {
        let mut cells = vec![dice(figures), moments(figures.hd95_mm), moments(figures.average_distance_mm)];
        cells.extend(report.baselines.values().map(|method| label_dice(&method.figures, label)));
        rows.push((label.clone(), cells));
    }
    let mut cells = vec![format!("{:.3}", report.mean_dice), "-".to_owned(), "-".to_owned()];
    cells.extend(report.baselines.values().map(|method| format!("{:.3}", method.figures.mean_dice)));
    rows.push(("mean over targets".to_owned(), cells));
    let mut cells = vec![format!("{:.3}", report.seconds_per_slice), "-".to_owned(), "-".to_owned()];
    cells.extend(report.baselines.values().map(|method| format!("{:.3}", method.seconds_per_slice)));
    rows.push(("seconds a slice".to_owned(), cells));
    rows
}

fn targets(report: &Report) -> Rows {
    let labels: Vec<&String> = report.labels.keys().collect();
    let mut head = vec!["slices".to_owned(), "seconds".to_owned(), "mean Dice".to_owned()];
    head.extend(labels.iter().map(|label| (*label).clone()));
    let mut rows = vec![("target".to_owned(), head)];
    for target in &report.targets {
        let mean = target.mean_dice().map_or_else(none, |mean| format!("{mean:.3}"));
        let mut cells = vec![target.slices.to_string(), format!("{:.1}", target.seconds), mean];
        let cell = |label: &&String| target.dice.get(*label).map_or_else(none, |dice| format!("{dice:.3}"));
        cells.extend(labels.iter().map(cell));
        rows.push((target.name.clone(), cells));
    }
    rows
}

fn curve(report: &Report) -> Rows {
    let labels: Vec<&String> = report.labels.keys().collect();
    let mut head = vec!["mean Dice".to_owned()];
    head.extend(labels.iter().map(|label| (*label).clone()));
    let mut rows = vec![("patients".to_owned(), head)];
    for point in &report.curve {
        let mut cells = vec![format!("{:.3}", point.figures.mean_dice)];
        cells.extend(labels.iter().map(|label| label_dice(&point.figures, label)));
        rows.push((point.patients.to_string(), cells));
    }
    rows
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = vec![];
    let confidence = &report.confidence;
    if confidence.slices > 0 {
        let correlation = confidence.rank_correlation.map_or_else(none, |r| format!("{r:.2}"));
        let dice = |mean: Option<f64>| mean.map_or_else(none, |mean| format!("{mean:.2}"));
        notes.push(format!(
            "confidence of {} slices and labels: rank correlation with Dice {correlation}, mean {:.2} beside a Dice \
             of {:.2}; {} for review with Dice {}, the others {}; {} of those below 0.5 are for review",
            confidence.slices,
            confidence.mean_confidence,
            confidence.mean_dice,
            confidence.flagged,
            dice(confidence.flagged_dice),
            dice(confidence.other_dice),
            confidence.poor_flagged.map_or_else(none, |share| format!("{:.0} %", share * 100.0)),
        ));
    }
    if let Some(sharing) = &report.retrieval {
        notes.push(format!(
            "labels shared with the top {}: retrieval {:.3}, pixel correlation {:.3}, random {:.3}",
            sharing.top, sharing.retrieval, sharing.pixel_correlation, sharing.random
        ));
    }
    for point in &report.curve {
        notes.push(format!("a bank of {} patients: {:.3}", point.patients, point.figures.mean_dice));
    }
    for failure in &report.failures {
        notes.push(format!("{} {}: Dice {:.3}", failure.target, failure.label, failure.dice));
    }
    for error in &report.errors {
        notes.push(format!("{} could not be measured by {}: {}", error.target, error.method, error.message));
    }
    notes
}

fn label_dice(figures: &Figures, label: &str) -> String {
    figures.labels.get(label).map_or_else(none, dice)
}

fn dice(figures: &LabelFigures) -> String {
    format!("{:.3} ± {:.3}", figures.dice_mean, figures.dice_sd)
}

fn moments(moments: Option<Moments>) -> String {
    moments.map_or_else(none, |m| format!("{:.1} ± {:.1}", m.mean, m.sd))
}

fn none() -> String {
    "-".to_owned()
}
