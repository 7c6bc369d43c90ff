use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn xml(json: &Value) -> String {
    String::from_utf8(write(json.to_string().as_bytes()).unwrap()).unwrap()
}

fn back(json: &Value) -> Value {
    Value::Object(read(xml(json).as_bytes()).unwrap())
}

/// The document around these attributes.
fn document(attributes: &str) -> String {
    format!("<NativeDicomModel xmlns=\"{NAMESPACE}\" xml:space=\"preserve\">{attributes}</NativeDicomModel>")
}

#[test]
fn each_kind_of_value_has_its_element() {
    for (json, attributes) in [
        (
            json!({ "00080060": { "vr": "CS", "Value": ["CT"] } }),
            r#"<DicomAttribute tag="00080060" vr="CS" keyword="Modality"><Value number="1">CT</Value></DicomAttribute>"#,
        ),
        (
            json!({ "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Yamada^Tarou^^Dr", "Ideographic": "山田^太郎" }] } }),
            "<DicomAttribute tag=\"00100010\" vr=\"PN\" keyword=\"PatientName\"><PersonName number=\"1\"><Alphabetic>\
             <FamilyName>Yamada</FamilyName><GivenName>Tarou</GivenName><NamePrefix>Dr</NamePrefix></Alphabetic>\
             <Ideographic><FamilyName>山田</FamilyName><GivenName>太郎</GivenName></Ideographic></PersonName>\
             </DicomAttribute>",
        ),
        (
            json!({ "00081140": { "vr": "SQ", "Value": [{ "00081155": { "vr": "UI", "Value": ["1.2"] } }, {}] } }),
            "<DicomAttribute tag=\"00081140\" vr=\"SQ\" keyword=\"ReferencedImageSequence\"><Item number=\"1\">\
             <DicomAttribute tag=\"00081155\" vr=\"UI\" keyword=\"ReferencedSOPInstanceUID\"><Value number=\"1\">1.2\
             </Value></DicomAttribute></Item><Item number=\"2\"></Item></DicomAttribute>",
        ),
        (
            json!({ "7FE00010": { "vr": "OW", "BulkDataURI": "a?b&c" } }),
            r#"<DicomAttribute tag="7FE00010" vr="OW" keyword="PixelData"><BulkData uri="a?b&amp;c"/></DicomAttribute>"#,
        ),
        (
            json!({ "00282000": { "vr": "OB", "InlineBinary": "AQID" } }),
            r#"<DicomAttribute tag="00282000" vr="OB" keyword="ICCProfile"><InlineBinary>AQID</InlineBinary></DicomAttribute>"#,
        ),
        (
            json!({ "00080008": { "vr": "CS", "Value": ["A", null, "B"] }, "00080020": { "vr": "DA" } }),
            "<DicomAttribute tag=\"00080008\" vr=\"CS\" keyword=\"ImageType\"><Value number=\"1\">A</Value>\
             <Value number=\"2\"/><Value number=\"3\">B</Value></DicomAttribute>\
             <DicomAttribute tag=\"00080020\" vr=\"DA\" keyword=\"StudyDate\"></DicomAttribute>",
        ),
        (
            json!({ "00090010": { "vr": "LO", "Value": ["ACME"] }, "00091002": { "vr": "UN", "InlineBinary": "AA==" } }),
            "<DicomAttribute tag=\"00090010\" vr=\"LO\"><Value number=\"1\">ACME</Value></DicomAttribute>\
             <DicomAttribute tag=\"00090002\" vr=\"UN\" privateCreator=\"ACME\"><InlineBinary>AA==</InlineBinary>\
             </DicomAttribute>",
        ),
    ] {
        let expected = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{}", document(attributes));
        assert_eq!(xml(&json), expected);
        assert_eq!(back(&json), json);
    }
}

#[test]
fn digits_and_line_ends_survive() {
    let digits = br#"{"00280030":{"vr":"DS","Value":[0.50,1e3,2]}}"#;
    let read = read(&write(digits).unwrap()).unwrap();
    assert_eq!(read["00280030"]["Value"], json!(["0.50", "1e3", 2]));
    let text = json!({ "00104000": { "vr": "LT", "Value": [" a\r\nb\tc\rd <&>\"' ]]> "] } });
    assert_eq!(back(&text), text);
    let form_feed = json!({ "00104000": { "vr": "LT", "Value": ["a\u{c}b"] } });
    assert_eq!(back(&form_feed)["00104000"]["Value"], json!(["a\u{fffd}b"]));
}

#[test]
fn private_elements_find_their_block() {
    let element = |tag: &str, creator: &str| {
        format!(
            r#"<DicomAttribute tag="{tag}" vr="LO" privateCreator="{creator}"><Value number="1">x</Value></DicomAttribute>"#
        )
    };
    let creator = |tag: &str, name: &str| {
        format!(r#"<DicomAttribute tag="{tag}" vr="LO"><Value number="1">{name}</Value></DicomAttribute>"#)
    };
    for (attributes, expected) in [
        (element("00090002", "A"), vec!["00090010", "00091002"]),
        (creator("00090011", "A") + &element("00090002", "A"), vec!["00090011", "00091102"]),
        (element("00090002", "A") + &creator("00090011", "A"), vec!["00090011", "00091102"]),
        (creator("00090010", "B") + &element("00090002", "A"), vec!["00090010", "00090011", "00091102"]),
        (element("00091002", "A") + &creator("00090010", "A"), vec!["00090010", "00091002"]),
    ] {
        let read = read(document(&attributes).as_bytes()).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), expected, "{attributes}");
    }
    let twice = json!({
        "00090010": { "vr": "LO", "Value": ["A"] }, "00090011": { "vr": "LO", "Value": ["A"] },
        "00091002": { "vr": "LO", "Value": ["x"] }, "00091102": { "vr": "LO", "Value": ["y"] },
    });
    assert_eq!(back(&twice), twice);
}

#[test]
fn what_is_no_native_model_is_refused() {
    let attribute = |content: &str| {
        document(&format!(r#"<DicomAttribute tag="00080060" vr="CS">{content}</DicomAttribute>"#))
    };
    let deep = format!(
        "{}{}",
        r#"<DicomAttribute tag="00081140" vr="SQ"><Item number="1">"#.repeat(MAX_DEPTH + 1),
        "</Item></DicomAttribute>".repeat(MAX_DEPTH + 1)
    );
    for text in [
        String::new(),
        "text".to_owned(),
        "<a/>".to_owned(),
        document("") + "<a/>",
        document("")[..40].to_owned(),
        document("x"),
        document("<Value number=\"1\">x</Value>"),
        document("<DicomAttribute vr=\"CS\"/>"),
        document("<DicomAttribute tag=\"00080060\"/>"),
        document("<DicomAttribute tag=\"0008006\" vr=\"CS\"/>"),
        document(&r#"<DicomAttribute tag="00080060" vr="CS"/>"#.repeat(2)),
        document(&deep),
        attribute("<Value>x</Value>"),
        attribute("<Value number=\"0\">x</Value>"),
        attribute("<Value number=\"4000000\">x</Value>"),
        attribute("<Value number=\"1\">x</Value><Value number=\"1\">y</Value>"),
        attribute("<Value number=\"1\"><b/></Value>"),
        attribute("<Value number=\"1\">&nobody;</Value>"),
        attribute("<Item number=\"1\"/>"),
        attribute("<BulkData/>"),
        attribute("<BulkData uri=\"a\"/><Value number=\"1\">x</Value>"),
        attribute("<Value number=\"1\">x</Value><InlineBinary>AAAA</InlineBinary>"),
        format!("<!DOCTYPE a [<!ENTITY x \"y\">]>{}", attribute("<Value number=\"1\">&x;</Value>")),
    ] {
        assert!(read(text.as_bytes()).is_err(), "{text}");
    }
    assert!(read(b"\xff").is_err());
}

/// Text that XML can carry, and that means the same once it is written and read.
fn some_text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 <>&\"'\\\\\r\n\t\u{c4}\u{5c71}\u{1f600}]{1,12}"
}

fn name_group() -> impl Strategy<Value = String> {
    "[a-z\u{5c71}]{0,4}(\\^[a-z<& ]{0,3}){0,4}[a-z]"
}

fn element() -> impl Strategy<Value = Value> {
    let texts = prop::collection::vec(prop::option::of(some_text()), 1..4);
    let decimals =
        prop::collection::vec(prop::option::of(any::<i32>().prop_map(|n| f64::from(n) / 64.0)), 1..4);
    let names = prop::collection::vec((name_group(), prop::option::of(name_group())), 1..3);
    prop_oneof![
        texts.prop_map(|values| json!({ "vr": "LO", "Value": values })),
        decimals.prop_map(|values| json!({ "vr": "DS", "Value": values })),
        prop::collection::vec(any::<u64>(), 1..4).prop_map(|values| json!({ "vr": "UV", "Value": values })),
        prop::collection::vec(any::<i16>(), 1..4).prop_map(|values| json!({ "vr": "SS", "Value": values })),
        prop::collection::vec(any::<f32>().prop_filter("JSON has none", |n| n.is_finite()), 1..4)
            .prop_map(|values| json!({ "vr": "FL", "Value": values })),
        Just(json!({ "vr": "FD", "Value": ["NaN", "-inf"] })),
        names.prop_map(|names| {
            let name = |(alphabetic, phonetic): (String, Option<String>)| match phonetic {
                Some(phonetic) => json!({ "Alphabetic": alphabetic, "Phonetic": phonetic }),
                None => json!({ "Alphabetic": alphabetic }),
            };
            json!({ "vr": "PN", "Value": names.into_iter().map(name).collect::<Vec<_>>() })
        }),
        "[A-Za-z0-9+/]{4}".prop_map(|text| json!({ "vr": "OB", "InlineBinary": text })),
        "[a-z/?&=]{1,20}".prop_map(|uri| json!({ "vr": "OW", "BulkDataURI": uri })),
        Just(json!({ "vr": "AT", "Value": ["00100010"] })),
        Just(json!({ "vr": "DA" })),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        (1u16..0x7fff, any::<u16>()).prop_map(|(group, element)| format!("{:04X}{element:04X}", group & !1)),
        (0x10u16..0x14, any::<u8>()).prop_map(|(block, low)| format!("0009{block:02X}{low:02X}")),
        (0x10u16..0x14).prop_map(|block| format!("0009{block:04X}")),
    ]
}

fn data_set() -> impl Strategy<Value = Map<String, Value>> {
    let leaves = prop::collection::btree_map(key(), element(), 0..6);
    let leaves = leaves.prop_map(|elements| elements.into_iter().collect::<Map<_, _>>());
    leaves.prop_recursive(3, 24, 3, |inner| {
        (prop::collection::vec(inner.clone(), 1..3), inner).prop_map(|(items, mut outer)| {
            outer.insert("00081140".to_owned(), json!({ "vr": "SQ", "Value": items }));
            outer
        })
    })
}

proptest! {
    #[test]
    fn json_comes_back(data_set in data_set()) {
        let data_set = Value::Object(data_set);
        prop_assert_eq!(back(&data_set), data_set);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let _ = write(&bytes);
    }

    #[test]
    fn no_cut_or_changed_document_panics(data_set in data_set(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut document = xml(&Value::Object(data_set)).into_bytes();
        let at = at.index(document.len());
        let _ = read(document.get(..at).unwrap());
        document[at] = byte;
        let _ = read(&document);
    }

    #[test]
    fn no_markup_panics(text in "(<|>|/|&|;|#|!|\\[|\\]|-|\"|=|DicomAttribute|NativeDicomModel|Value|number|DOCTYPE| |1|x){0,60}") {
        let _ = read(text.as_bytes());
        let _ = read(document(&text).as_bytes());
    }
}
