//! A structured report (PS3.3 C.17.3, C.18) in the words in which it is shown.

use dicom_core::dictionary::{UidDictionary, UidDictionaryEntry};
use dicom_dictionary_std::StandardSopClassDictionary;
use serde_json::{Map, Value as Json};

use super::dataset::DataSet;

/// Spatial coordinates with more points than this are counted, not listed.
const LISTED_POINTS: usize = 4;

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub title: String,
    /// Whose it is, when it was made and how far it is: what, and what of it.
    pub heading: Vec<(&'static str, String)>,
    pub content: Vec<Item>,
}

/// A content item.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its place in the tree, such as `1.2.1` (PS3.3 C.17.3.2.5).
    pub number: String,
    /// How it stands to the one that holds it, where that is more than to belong to it.
    pub relationship: Option<&'static str>,
    /// Its concept name.
    pub name: Option<String>,
    pub value: Value,
    pub items: Vec<Item>,
}

/// What a content item says.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// What its items say; `running` where they are one text (ContinuityOfContent).
    Container {
        running: bool,
    },
    Text(String),
    Instance(Reference),
    /// What another item of the report says, by its number.
    Item(String),
}

/// An instance that is referred to.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// What it is.
    pub text: String,
    pub sop_instance_uid: String,
    /// Empty for all.
    pub frames: Vec<u32>,
}

impl Report {
    /// Reads the DICOM JSON of an instance. What is missing is left out: many reports lack something that they should have.
    pub fn read(attributes: &Map<String, Json>) -> Self {
        let root = DataSet(attributes);
        let title = root.meaning(tag::CONCEPT_NAME).or_else(|| class_name(&root.text(tag::SOP_CLASS)?));
        Self {
            title: title.unwrap_or_else(|| "Structured Report".to_owned()),
            heading: heading(root),
            content: items(root, "1"),
        }
    }
}

/// The tags of what is read.
mod tag {
    pub const SOP_CLASS: &str = "00080016";
    pub const CONCEPT_NAME: &str = "0040A043";
    pub const CONTENT: &str = "0040A730";
    pub const RELATIONSHIP: &str = "0040A010";
    pub const VALUE_TYPE: &str = "0040A040";
    pub const CONTINUITY: &str = "0040A050";
    pub const REFERENCED_ITEM: &str = "0040DB73";
    pub const REFERENCED_SOP: &str = "00081199";
    pub const REFERENCED_CLASS: &str = "00081150";
    pub const REFERENCED_INSTANCE: &str = "00081155";
    pub const REFERENCED_FRAMES: &str = "00081160";
    pub const REFERENCED_SEGMENT: &str = "0062000B";
    pub const GRAPHIC_TYPE: &str = "00700023";
    pub const GRAPHIC_DATA: &str = "00700022";
}

fn heading(root: DataSet) -> Vec<(&'static str, String)> {
    let when = |date: &str, time: &str| match (root.date(date), root.time(time)) {
        (Some(date), Some(time)) => Some(format!("{date} {time}")),
        (date, _) => date,
    };
    let with = |text: Option<String>, more: Option<String>| match (text, more) {
        (Some(text), Some(more)) => Some(format!("{text} ({more})")),
        (text, more) => text.or(more),
    };
    let mut heading = vec![
        ("Patient", with(root.name("00100010"), root.text("00100020"))),
        ("Birth date", root.date("00100030")),
        ("Sex", root.text("00100040")),
        ("Study", with(root.text("00081030"), when("00080020", "00080030"))),
        ("Accession number", root.text("00080050")),
        ("Referring physician", root.name("00080090")),
        ("Series", root.text("0008103E")),
        ("Made by", with(root.text("00080070"), root.text("00081090"))),
        ("Made", when("00080023", "00080033")),
        ("Preliminary", root.text("0040A496")),
        ("Completion", with(root.text("0040A491"), root.text("0040A492"))),
        ("Verification", root.text("0040A493")),
    ];
    heading.extend(root.items("0040A073").map(|observer| ("Verified by", verifier(observer))));
    heading.into_iter().filter_map(|(label, value)| Some((label, value?))).collect()
}

/// Who verified a report, for whom, and when.
fn verifier(observer: DataSet) -> Option<String> {
    let words = [observer.name("0040A075"), observer.text("0040A027"), observer.date_time("0040A030")];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// The items that one holds, whose number is `holder`.
fn items(holder: DataSet, number: &str) -> Vec<Item> {
    let numbered = holder.items(tag::CONTENT).zip(1usize..);
    numbered.map(|(item, place)| Item::read(item, format!("{number}.{place}"))).collect()
}

impl Item {
    fn read(item: DataSet, number: String) -> Self {
        let items = items(item, &number);
        let relationship = match item.text(tag::RELATIONSHIP).as_deref() {
            Some("INFERRED FROM") => Some("inferred from"),
            Some("SELECTED FROM") => Some("selected from"),
            _ => None,
        };
        Self { relationship, name: item.meaning(tag::CONCEPT_NAME), value: value(item), items, number }
    }
}

/// What an item says (PS3.3 Table C.17.3-7, "Value Type Definitions").
fn value(item: DataSet) -> Value {
    let Some(value_type) = item.text(tag::VALUE_TYPE) else {
        let place: Vec<String> = item.numbers(tag::REFERENCED_ITEM).iter().map(u32::to_string).collect();
        return match place.is_empty() {
            true => Value::Text("[nothing]".to_owned()),
            false => Value::Item(place.join(".")),
        };
    };
    let text = match value_type.as_str() {
        "CONTAINER" => {
            return Value::Container { running: item.text(tag::CONTINUITY).as_deref() == Some("CONTINUOUS") };
        }
        "IMAGE" | "COMPOSITE" | "WAVEFORM" => return reference(item),
        "TEXT" => item.text("0040A160"),
        "CODE" => item.meaning("0040A168"),
        "NUM" => measured(item),
        "PNAME" => item.name("0040A123"),
        "DATE" => item.date("0040A121"),
        "TIME" => item.time("0040A122"),
        "DATETIME" => item.date_time("0040A120"),
        "UIDREF" => item.text("0040A124"),
        "SCOORD" => coordinates(item, 2),
        "SCOORD3D" => coordinates(item, 3),
        "TCOORD" => moments(item),
        _ => None,
    };
    // What is not known, or not here, is at least named.
    Value::Text(text.unwrap_or_else(|| match item.has_bulk_data() {
        true => format!("[{value_type}, too long to be shown here]"),
        false => format!("[{value_type}]"),
    }))
}

/// A number with its unit; or why there is none (PS3.3 C.18.1).
fn measured(item: DataSet) -> Option<String> {
    let qualifier = item.meaning("0040A301");
    let Some(measured) = item.item("0040A300") else { return qualifier };
    let number = measured.text("0040A30A");
    // 1 is the unit of what has none (UCUM).
    let is_one = |unit: DataSet| unit.text("00080100").as_deref() == Some("1");
    let has_unit = measured.item("004008EA").is_some_and(|unit| !is_one(unit));
    let unit = measured.meaning("004008EA").filter(|_| has_unit);
    let words: Vec<String> = [number, unit, qualifier].into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// An instance that is referred to (PS3.3 C.18.3, C.18.4).
fn reference(item: DataSet) -> Value {
    let Some(referenced) = item.item(tag::REFERENCED_SOP) else {
        return Value::Text("no instance".to_owned());
    };
    let class = referenced.text(tag::REFERENCED_CLASS).unwrap_or_default();
    let (frames, segments) =
        (referenced.numbers(tag::REFERENCED_FRAMES), referenced.numbers(tag::REFERENCED_SEGMENT));
    let mut text = class_name(&class).unwrap_or(class);
    for (what, numbers) in [("frame", &frames), ("segment", &segments)] {
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        if !numbers.is_empty() {
            text.push_str(&format!(", {what} {}", numbers.join(", ")));
        }
    }
    let sop_instance_uid = referenced.text(tag::REFERENCED_INSTANCE).unwrap_or_default();
    Value::Instance(Reference { text, sop_instance_uid, frames })
}

/// Spatial coordinates, in columns and rows of pixels or in mm of a frame of reference (PS3.3 C.18.6, C.18.9).
fn coordinates(item: DataSet, dimensions: usize) -> Option<String> {
    let kind = item.text(tag::GRAPHIC_TYPE).unwrap_or_default();
    match item.count(tag::GRAPHIC_DATA) / dimensions {
        0 => None,
        1..=LISTED_POINTS => Some(format!("{kind} {}", item.text(tag::GRAPHIC_DATA)?)),
        points => Some(format!("{kind} of {points} points")),
    }
}

/// Temporal coordinates (PS3.3 C.18.7).
fn moments(item: DataSet) -> Option<String> {
    let kind = item.text("0040A130")?;
    let (samples, offsets, times) = (item.text("0040A132"), item.text("0040A138"), item.text("0040A13A"));
    let samples = samples.map(|samples| format!("samples {samples}"));
    let offsets = offsets.map(|offsets| format!("{offsets} s"));
    Some([Some(kind), samples, offsets, times].into_iter().flatten().collect::<Vec<_>>().join(" "))
}

/// The name of a SOP class, without saying that it is stored.
fn class_name(uid: &str) -> Option<String> {
    let name = StandardSopClassDictionary.by_uid(uid)?.name();
    Some(name.strip_suffix(" Storage").unwrap_or(name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wado::document::{html, plain};
    use proptest::prelude::*;
    use serde_json::json;

    /// A report of one item.
    fn item(item: Json) -> Item {
        let json = json!({ "0040A730": { "vr": "SQ", "Value": [item] } });
        let mut report = Report::read(json.as_object().unwrap());
        assert_eq!(report.content.len(), 1);
        report.content.remove(0)
    }

    fn element(vr: &str, values: Json) -> Json {
        json!({ "vr": vr, "Value": values })
    }

    fn code(value: &str, meaning: &str) -> Json {
        element(
            "SQ",
            json!([{ "00080100": element("SH", json!([value])), "00080104": element("LO", json!([meaning])) }]),
        )
    }

    #[test]
    fn numbers_have_their_unit() {
        let volume = |unit: Json, qualifier: Json| {
            let measured = json!([{ "0040A30A": element("DS", json!([12.5])), "004008EA": unit }]);
            item(json!({
                "0040A040": element("CS", json!(["NUM"])), "0040A043": code("118565006", "Volume"),
                "0040A300": element("SQ", measured), "0040A301": qualifier,
            }))
        };
        let none = element("SQ", json!([]));
        let measured = volume(code("mL", "milliliter"), none.clone());
        assert_eq!((measured.name.as_deref(), measured.number.as_str()), (Some("Volume"), "1.1"));
        assert_eq!(measured.value, Value::Text("12.5 milliliter".to_owned()));
        assert_eq!(volume(code("1", "no units"), none).value, Value::Text("12.5".to_owned()));
        let missing = item(json!({
            "0040A040": element("CS", json!(["NUM"])), "0040A300": element("SQ", json!([])),
            "0040A301": code("114000", "Not a number"),
        }));
        assert_eq!(missing.value, Value::Text("Not a number".to_owned()));
    }

    #[test]
    fn references_name_what_they_refer_to() {
        let image = item(json!({
            "0040A040": element("CS", json!(["IMAGE"])),
            "00081199": element("SQ", json!([{
                "00081150": element("UI", json!(["1.2.840.10008.5.1.4.1.1.2"])),
                "00081155": element("UI", json!(["2.25.1"])),
                "00081160": element("IS", json!([3, 5])),
            }])),
        }));
        let expected = Reference {
            text: "CT Image, frame 3, 5".to_owned(),
            sop_instance_uid: "2.25.1".to_owned(),
            frames: vec![3, 5],
        };
        assert_eq!(image.value, Value::Instance(expected));
        let other = item(json!({
            "0040A010": element("CS", json!(["SELECTED FROM"])), "0040DB73": element("UL", json!([1, 3, 2])),
        }));
        assert_eq!(
            (other.relationship, other.value),
            (Some("selected from"), Value::Item("1.3.2".to_owned()))
        );
    }

    #[test]
    fn what_is_missing_or_not_known_does_no_harm() {
        for (value_type, shown) in [
            ("TEXT", "[TEXT]"),
            ("NUM", "[NUM]"),
            ("SCOORD", "[SCOORD]"),
            ("TABLE", "[TABLE]"),
            ("IMAGE", "no instance"),
        ] {
            let empty = item(json!({ "0040A040": element("CS", json!([value_type])) }));
            assert_eq!(empty.value, Value::Text(shown.to_owned()), "{value_type}");
        }
        assert_eq!(item(json!({})).value, Value::Text("[nothing]".to_owned()));
        let long = json!({ "0040A040": element("CS", json!(["TEXT"])), "0040A160": { "vr": "UT", "BulkDataURI": "there" } });
        assert_eq!(item(long).value, Value::Text("[TEXT, too long to be shown here]".to_owned()));
        let report = Report::read(json!({}).as_object().unwrap());
        assert_eq!((report.title.as_str(), report.heading.len()), ("Structured Report", 0));
    }

    /// Values of the kinds that JSON has, where a report would have any.
    fn values(items: BoxedStrategy<Json>) -> BoxedStrategy<Json> {
        let words = prop_oneof![
            Just("CONTAINER"),
            Just("NUM"),
            Just("IMAGE"),
            Just("SCOORD"),
            Just("CONTINUOUS"),
            Just("\r<&")
        ];
        let value = prop_oneof![
            words.prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            Just(Json::Null),
            Just(json!({ "Alphabetic": "^^" })),
            items,
        ];
        proptest::collection::vec(value, 0..3).prop_map(Json::from).boxed()
    }

    /// Data sets of some of the attributes that are read.
    fn data_sets() -> BoxedStrategy<Json> {
        const TAGS: [&str; 12] = [
            tag::CONTENT,
            tag::CONTENT,
            tag::VALUE_TYPE,
            tag::VALUE_TYPE,
            tag::CONCEPT_NAME,
            tag::CONTINUITY,
            tag::REFERENCED_ITEM,
            tag::REFERENCED_SOP,
            tag::GRAPHIC_DATA,
            "0040A300",
            "0040A30A",
            "0040A120",
        ];
        Just(json!({}))
            .boxed()
            .prop_recursive(4, 64, 4, |items| {
                let attribute = (proptest::sample::select(TAGS.to_vec()), values(items));
                proptest::collection::btree_map(attribute.0, attribute.1, 0..5).prop_map(|set| {
                    set.into_iter()
                        .map(|(tag, values)| (tag, json!({ "vr": "UN", "Value": values })))
                        .collect()
                })
            })
            .boxed()
    }

    proptest! {
        #[test]
        fn no_report_panics(set in data_sets()) {
            let report = Report::read(set.as_object().unwrap());
            plain::write(&report);
            html::write(&report, &|_| None).unwrap();
        }
    }
}
