//! A report as plain text: an item a line, below the one that holds it.

use std::collections::BTreeSet;

use super::report::{Item, Report, Value};

/// By how much an item stands further right than the one that holds it.
const STEP: usize = 2;

/// Writes a report. Before an item that others refer to stands its number.
pub fn write(report: &Report) -> String {
    let mut referred = BTreeSet::new();
    report.content.iter().for_each(|item| note_referred(item, &mut referred));
    let underline = "=".repeat(report.title.chars().count());
    let mut text = format!("{}\n{underline}\n\n", report.title);
    for (label, value) in &report.heading {
        line(&mut text, 0, &format!("{label}: {value}"));
    }
    text.push('\n');
    report.content.iter().for_each(|item| write_item(&mut text, item, 0, &referred));
    text
}

/// The numbers of the items that an item, and those that it holds, refer to.
fn note_referred<'a>(item: &'a Item, referred: &mut BTreeSet<&'a str>) {
    if let Value::Item(number) = &item.value {
        referred.insert(number);
    }
    item.items.iter().for_each(|below| note_referred(below, referred));
}

fn write_item(text: &mut String, item: &Item, indent: usize, referred: &BTreeSet<&str>) {
    let mut words = Vec::new();
    if referred.contains(item.number.as_str()) {
        words.push(format!("[{}]", item.number));
    }
    words.extend(item.relationship.map(str::to_owned));
    words.extend(item.name.iter().map(|name| format!("{name}:")));
    words.extend(value(&item.value));
    if !words.is_empty() {
        line(text, indent, &words.join(" "));
    }
    item.items.iter().for_each(|below| write_item(text, below, indent + STEP, referred));
}

fn value(value: &Value) -> Option<String> {
    match value {
        Value::Container { .. } => None,
        Value::Text(text) => Some(text.clone()),
        Value::Instance(reference) => Some(format!("{} {}", reference.text, reference.sop_instance_uid)),
        Value::Item(number) => Some(format!("[{number}]")),
    }
}

/// Writes a text, whose own lines stand as far right as the first.
fn line(text: &mut String, indent: usize, words: &str) {
    for line in words.lines() {
        text.push_str(&" ".repeat(indent));
        text.push_str(line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_referred_to_has_its_number() {
        let item = |number: &str, value, items| Item {
            number: number.to_owned(),
            relationship: None,
            name: Some("Finding".to_owned()),
            value,
            items,
        };
        let reference = Item {
            relationship: Some("inferred from"),
            ..item("1.2.1", Value::Item("1.1".to_owned()), vec![])
        };
        let content = vec![
            item("1.1", Value::Text("one\ntwo".to_owned()), vec![]),
            item("1.2", Value::Container { running: false }, vec![reference]),
        ];
        let report = Report { title: "Title".to_owned(), heading: vec![("Sex", "F".to_owned())], content };
        let expected =
            "Title\n=====\n\nSex: F\n\n[1.1] Finding: one\ntwo\nFinding:\n  inferred from Finding: [1.1]\n";
        assert_eq!(write(&report), expected);
    }
}
