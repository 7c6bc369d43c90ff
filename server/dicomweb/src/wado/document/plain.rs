//! A report as plain text: an item a line, below the one that holds it.

use super::report::{Item, Report, Value};

/// By how much an item stands further right than the one that holds it.
const STEP: usize = 2;

/// Writes a report.
pub fn write(report: &Report) -> String {
    let underline = "=".repeat(report.title.chars().count());
    let mut text = format!("{}\n{underline}\n\n", report.title);
    for (label, value) in &report.heading {
        line(&mut text, 0, &format!("{label}: {value}"));
    }
    text.push('\n');
    report.content.iter().for_each(|item| write_item(&mut text, item, 0));
    text
}

fn write_item(text: &mut String, item: &Item, indent: usize) {
    let mut words: Vec<String> =
        item.relationship.iter().map(|relationship| (*relationship).to_owned()).collect();
    words.extend(item.name.iter().map(|name| format!("{name}:")));
    words.extend(value(&item.value));
    if !words.is_empty() {
        line(text, indent, &words.join(" "));
    }
    item.items.iter().for_each(|below| write_item(text, below, indent + STEP));
}

fn value(value: &Value) -> Option<String> {
    match value {
        Value::Container { .. } => None,
        Value::Text(text) => Some(text.clone()),
        Value::Instance(reference) => Some(format!("{} {}", reference.text, reference.sop_instance_uid)),
        Value::Item(number) => Some(format!("item {number}")),
    }
}

/// Writes a text, whose own lines stand as far right as the first.
fn line(text: &mut String, indent: usize, words: &str) {
    for line in words.replace("\r\n", "\n").replace('\r', "\n").lines() {
        text.push_str(&" ".repeat(indent));
        text.push_str(line);
        text.push('\n');
    }
}
