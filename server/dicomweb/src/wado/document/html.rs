//! A report as a page.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesText, Event};

use super::report::{Item, Reference, Report, Value};

/// Where an instance can be seen, if anywhere.
pub type Link<'a> = &'a dyn Fn(&Reference) -> Option<String>;

type Html = Writer<Vec<u8>>;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:50em;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
h1,h2,h3,h4,h5,h6{line-height:1.25;margin:1.2em 0 .4em}h3,h4,h5,h6{font-size:1em}\
th{text-align:left;font-weight:normal;color:#666;padding-right:1.5em;vertical-align:top}td,.text{white-space:pre-wrap}\
section section,.below{margin-left:1.2em}.below{font-size:.9em}.name{color:#666}";

/// The least heading.
const MAX_LEVEL: usize = 6;

/// Writes a report.
///
/// # Errors
/// None that memory does not cause.
pub fn write(report: &Report, link: Link) -> io::Result<Vec<u8>> {
    let mut html = Writer::new(Vec::new());
    html.write_event(Event::DocType(BytesText::new("html")))?;
    html.create_element("html").write_inner_content(|html| {
        html.create_element("head").write_inner_content(|html| {
            html.create_element("meta").with_attribute(("charset", "utf-8")).write_empty()?;
            element(html, "title", &report.title)?;
            element(html, "style", STYLE)
        })?;
        html.create_element("body").write_inner_content(|html| {
            element(html, "h1", &report.title)?;
            html.create_element("table").write_inner_content(|html| heading(html, report))?;
            report.content.iter().try_for_each(|item| write_item(html, item, 2, link))
        })?;
        Ok(())
    })?;
    Ok(html.into_inner())
}

fn heading(html: &mut Html, report: &Report) -> io::Result<()> {
    for (label, value) in &report.heading {
        html.create_element("tr").write_inner_content(|html| {
            element(html, "th", label)?;
            element(html, "td", value)
        })?;
    }
    Ok(())
}

/// A section for a container, whose heading is of that level; a line for anything else, with what belongs to it below.
fn write_item(html: &mut Html, item: &Item, level: usize, link: Link) -> io::Result<()> {
    let id = anchor(&item.number);
    match &item.value {
        Value::Container { running } => {
            let section = html.create_element("section").with_attribute(("id", id.as_str()));
            section.write_inner_content(|html| {
                if let Some(name) = &item.name {
                    element(html, &format!("h{}", level.min(MAX_LEVEL)), name)?;
                }
                let (in_line, below) = item.items.split_at(if *running { running_items(item) } else { 0 });
                if !in_line.is_empty() {
                    html.create_element("p").write_inner_content(|html| {
                        in_line.iter().try_for_each(|item| write_in_line(html, item, link))
                    })?;
                }
                below.iter().try_for_each(|item| write_item(html, item, level + 1, link))
            })?;
        }
        value => {
            html.create_element("div").with_attribute(("id", id.as_str())).write_inner_content(|html| {
                label(html, item)?;
                write_value(html, value, link)?;
                if item.items.is_empty() {
                    return Ok(());
                }
                let below = html.create_element("div").with_attribute(("class", "below"));
                below.write_inner_content(|html| {
                    item.items.iter().try_for_each(|item| write_item(html, item, level, link))
                })?;
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// How many of a container's items can stand in one line: those before the first that is a container itself.
fn running_items(item: &Item) -> usize {
    let is_container = |item: &Item| matches!(item.value, Value::Container { .. });
    item.items.iter().position(is_container).unwrap_or(item.items.len())
}

/// A value as a piece of a text, with what belongs to it in brackets.
fn write_in_line(html: &mut Html, item: &Item, link: Link) -> io::Result<()> {
    let place = anchor(&item.number);
    html.create_element("span").with_attribute(("id", place.as_str())).write_inner_content(|html| {
        write_value(html, &item.value, link)?;
        for below in &item.items {
            words(html, " (")?;
            label(html, below)?;
            write_in_line(html, below, link)?;
            words(html, ")")?;
        }
        words(html, " ")
    })?;
    Ok(())
}

/// How an item stands to the one that holds it, and its name.
fn label(html: &mut Html, item: &Item) -> io::Result<()> {
    if let Some(relationship) = item.relationship {
        words(html, &format!("{relationship} "))?;
    }
    let Some(name) = &item.name else { return Ok(()) };
    let named = html.create_element("span").with_attribute(("class", "name"));
    named.write_text_content(BytesText::new(&format!("{name}: ")))?;
    Ok(())
}

fn write_value(html: &mut Html, value: &Value, link: Link) -> io::Result<()> {
    match value {
        Value::Container { .. } => Ok(()),
        Value::Text(text) => {
            let written = html.create_element("span").with_attribute(("class", "text"));
            written.write_text_content(BytesText::new(text))?;
            Ok(())
        }
        Value::Instance(reference) => match link(reference) {
            Some(url) => anchored(html, &url, &reference.text),
            None => words(html, &format!("{} {}", reference.text, reference.sop_instance_uid)),
        },
        Value::Item(number) => anchored(html, &format!("#{}", anchor(number)), &format!("item {number}")),
    }
}

fn anchored(html: &mut Html, url: &str, text: &str) -> io::Result<()> {
    let anchor = html.create_element("a").with_attribute(("href", url));
    anchor.write_text_content(BytesText::new(text))?;
    Ok(())
}

/// The name of an item's place in the page.
fn anchor(number: &str) -> String {
    format!("item-{number}")
}

fn element(html: &mut Html, name: &str, text: &str) -> io::Result<()> {
    html.create_element(name).write_text_content(BytesText::new(text))?;
    Ok(())
}

fn words(html: &mut Html, text: &str) -> io::Result<()> {
    html.write_event(Event::Text(BytesText::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, text: &str, items: Vec<Item>) -> Item {
        Item {
            number: "1.1".to_owned(),
            relationship: None,
            name: Some(name.to_owned()),
            value: Value::Text(text.to_owned()),
            items,
        }
    }

    fn page(content: Vec<Item>) -> String {
        let report = Report {
            title: "A <b>".to_owned(),
            heading: vec![("Patient", "Jane & Doe".to_owned())],
            content,
        };
        String::from_utf8(write(&report, &|_| Some("/there".to_owned())).unwrap()).unwrap()
    }

    #[test]
    fn nothing_that_a_report_says_is_markup() {
        let page = page(vec![text("<script>", "</span><script>alert('1')</script>\nnext", vec![])]);
        assert!(page.starts_with("<!DOCTYPE html><html><head><meta charset=\"utf-8\"/>"), "{page}");
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("<h1>A &lt;b&gt;</h1>") && page.contains("Jane &amp; Doe"), "{page}");
        assert!(page.contains("&lt;/script&gt;\nnext"), "{page}");
    }

    #[test]
    fn running_text_stands_in_one_line() {
        let items = vec![
            text("Finding", "A mass of", vec![]),
            text("Diameter", "3 cm", vec![text("Code", "Sample", vec![])]),
        ];
        let running = Item {
            number: "1.2".to_owned(),
            relationship: None,
            name: None,
            value: Value::Container { running: true },
            items,
        };
        let page = page(vec![running]);
        let line = page.split("<p>").nth(1).and_then(|rest| rest.split("</p>").next()).unwrap();
        let mut words = String::new();
        let mut is_text = true;
        for one in line.chars() {
            match one {
                '<' => is_text = false,
                '>' => is_text = true,
                one if is_text => words.push(one),
                _ => {}
            }
        }
        assert_eq!(words.trim(), "A mass of 3 cm (Code: Sample )");
    }
}
