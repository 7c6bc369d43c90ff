//! Reading attributes of DICOM JSON (PS3.18 F.2) as words.

use serde_json::{Map, Value};

/// A data set. Attributes are named by their tags, in eight hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub struct DataSet<'a>(pub &'a Map<String, Value>);

impl<'a> DataSet<'a> {
    fn values(self, tag: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let values = self.0.get(tag).and_then(|element| element.get("Value")?.as_array());
        values.into_iter().flatten()
    }

    /// The items of a sequence.
    pub fn items(self, tag: &str) -> impl Iterator<Item = DataSet<'a>> + use<'a> {
        self.values(tag).filter_map(Value::as_object).map(DataSet)
    }

    /// The first item of a sequence.
    pub fn item(self, tag: &str) -> Option<DataSet<'a>> {
        self.items(tag).next()
    }

    /// The values as text, one behind the other; `None` where there is none.
    pub fn text(self, tag: &str) -> Option<String> {
        let texts: Vec<String> = self.values(tag).filter_map(text).collect();
        let text = texts.join(", ");
        (!text.is_empty()).then_some(text)
    }

    /// A whole number.
    pub fn number(self, tag: &str) -> Option<u64> {
        self.values(tag).find_map(whole)
    }

    /// Whole numbers.
    pub fn numbers(self, tag: &str) -> Vec<u32> {
        self.values(tag).filter_map(|value| u32::try_from(whole(value)?).ok()).collect()
    }

    /// Whether a value is too long for the data set, which then only says where it is.
    pub fn has_bulk_data(self) -> bool {
        self.0.values().any(|element| element.get("BulkDataURI").is_some())
    }

    /// How many values there are.
    pub fn count(self, tag: &str) -> usize {
        self.values(tag).count()
    }

    /// CodeMeaning of the first item of a sequence of codes; where it says none, the code.
    pub fn meaning(self, tag: &str) -> Option<String> {
        const WORDS: [&str; 4] = ["00080104", "00080100", "00080119", "00080120"];
        let code = self.item(tag)?;
        WORDS.into_iter().find_map(|word| code.text(word))
    }

    /// A person's name as it is said: given names, then the family name.
    pub fn name(self, tag: &str) -> Option<String> {
        self.text(tag).map(|name| spoken(&name)).filter(|name| !name.is_empty())
    }

    /// A date, YYYY-MM-DD.
    pub fn date(self, tag: &str) -> Option<String> {
        self.text(tag).map(|date| dashed(&date))
    }

    /// A time, HH:MM:SS.
    pub fn time(self, tag: &str) -> Option<String> {
        self.text(tag).map(|time| with_colons(&time))
    }

    /// A date with its time, and the offset from UTC where there is one.
    pub fn date_time(self, tag: &str) -> Option<String> {
        let text = self.text(tag)?;
        let Some((date, rest)) = text.split_at_checked(8) else { return Some(dashed(&text)) };
        let (time, offset) = rest.split_at(rest.find(['+', '-']).unwrap_or(rest.len()));
        let words = [dashed(date), with_colons(time), offset.to_owned()];
        Some(words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
    }
}

/// A value as text: of a person's name the first group that there is.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(clean(text.trim())),
        // A floating point number without its empty fraction.
        Value::Number(number) => {
            number.as_i64().map(|whole| whole.to_string()).or(Some(number.as_f64()?.to_string()))
        }
        Value::Object(name) => {
            let mut groups = ["Alphabetic", "Ideographic", "Phonetic"].into_iter();
            groups.find_map(|group| name.get(group)?.as_str()).map(clean)
        }
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

/// The text with line feeds and tabs as its only control characters.
fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|one| !one.is_control() || matches!(one, '\n' | '\t')).collect()
}

/// A whole number, which may be written as if it had a fraction.
fn whole(value: &Value) -> Option<u64> {
    const MOST: f64 = u32::MAX as f64;
    value.as_u64().or_else(|| {
        let number =
            value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=MOST).contains(number))?;
        Some(number as u64)
    })
}

/// `Family^Given^Middle^Prefix^Suffix` (PS3.5 6.2.1.1) in the order in which it is said.
fn spoken(name: &str) -> String {
    let mut components = name.split('^').map(str::trim);
    let mut next = || components.next().unwrap_or_default();
    let [family, given, middle, prefix, suffix] = std::array::from_fn(|_| next());
    let words = [prefix, given, middle, family, suffix];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// YYYYMMDD with dashes; anything else as it is.
fn dashed(date: &str) -> String {
    match (date.get(..4), date.get(4..6), date.get(6..)) {
        (Some(year), Some(month), Some(day)) if day.len() == 2 && is_digits(date) => {
            format!("{year}-{month}-{day}")
        }
        _ => date.to_owned(),
    }
}

/// HHMMSS with colons, without fractions of a second; anything else as it is.
fn with_colons(time: &str) -> String {
    let whole = time.split('.').next().unwrap_or_default();
    match (whole.get(..2), whole.get(2..4), whole.get(4..6)) {
        (Some(hour), Some(minute), Some(second)) if whole.len() == 6 && is_digits(whole) => {
            format!("{hour}:{minute}:{second}")
        }
        (Some(hour), Some(minute), None) if whole.len() == 4 && is_digits(whole) => {
            format!("{hour}:{minute}")
        }
        _ => time.to_owned(),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read<T>(value: Value, read: impl Fn(DataSet) -> T) -> T {
        let json = json!({ "00100010": { "vr": "UN", "Value": value } });
        read(DataSet(json.as_object().unwrap()))
    }

    #[test]
    fn values_become_words() {
        let tag = "00100010";
        assert_eq!(read(json!(["a", 2, 1.5, 3.0]), |set| set.text(tag)).as_deref(), Some("a, 2, 1.5, 3"));
        assert_eq!(read(json!([null, ""]), |set| set.text(tag)), None);
        assert_eq!(read(json!(["a\r\nb\rc\u{1b}\0"]), |set| set.text(tag)).as_deref(), Some("a\nb\nc"));
        assert_eq!(read(json!([{ "Alphabetic": "^^^^" }]), |set| set.name(tag)), None);
        assert_eq!(read(json!([1.0, 2, 2.5, -3]), |set| set.numbers(tag)), [1, 2]);
        let name = json!([{ "Alphabetic": "Doe^Jane^M.^Dr.^PhD" }]);
        assert_eq!(read(name, |set| set.name(tag)).as_deref(), Some("Dr. Jane M. Doe PhD"));
        assert_eq!(read(json!(["20240102"]), |set| set.date(tag)).as_deref(), Some("2024-01-02"));
        assert_eq!(read(json!(["1011"]), |set| set.time(tag)).as_deref(), Some("10:11"));
        assert_eq!(read(json!(["101112.5"]), |set| set.time(tag)).as_deref(), Some("10:11:12"));
        let moment = read(json!(["20010213184746.12+0100"]), |set| set.date_time(tag));
        assert_eq!(moment.as_deref(), Some("2001-02-13 18:47:46 +0100"));
        assert_eq!(read(json!(["2001"]), |set| set.date_time(tag)).as_deref(), Some("2001"));
        let code = json!([{ "00080100": { "vr": "SH", "Value": ["121071"] } }]);
        assert_eq!(read(code, |set| set.meaning(tag)).as_deref(), Some("121071"));
    }

    proptest! {
        #[test]
        fn no_value_panics(text in "\\PC{0,20}") {
            let tag = "00100010";
            let _ = read(json!([text]), |set| [set.name(tag), set.date(tag), set.time(tag), set.date_time(tag)]);
        }
    }
}
