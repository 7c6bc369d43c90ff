//! One element's value as DICOM JSON (PS3.18 sections F.2.2 to F.2.7).

use super::{header::Encoding, text::Charset};
use base64::{Engine, engine::general_purpose::STANDARD};
use dicom_core::VR;

/// Whether values of this VR are InlineBinary rather than a list of values.
pub(crate) fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)
}

/// Writes `{"vr":...}` with the value, if there is one.
pub(crate) fn write(out: &mut Vec<u8>, vr: VR, bytes: &[u8], encoding: Encoding, charset: &Charset) {
    out.extend_from_slice(format!("{{\"vr\":\"{}\"", vr.to_string()).as_bytes());
    if is_binary(vr) {
        if !bytes.is_empty() {
            out.extend_from_slice(b",\"InlineBinary\":\"");
            out.extend_from_slice(STANDARD.encode(little_endian(vr, bytes, encoding)).as_bytes());
            out.push(b'"');
        }
    } else {
        let values = values(vr, bytes, encoding, charset);
        if values.iter().any(Option::is_some) {
            out.extend_from_slice(b",\"Value\":[");
            let texts: Vec<_> =
                values.into_iter().map(|value| value.unwrap_or_else(|| "null".to_owned())).collect();
            out.extend_from_slice(texts.join(",").as_bytes());
            out.push(b']');
        }
    }
    out.push(b'}');
}

/// Each value as JSON text; `None` for an empty one.
fn values(vr: VR, bytes: &[u8], encoding: Encoding, charset: &Charset) -> Vec<Option<String>> {
    let big = encoding.big_endian;
    match vr {
        VR::AT => chunks(bytes, |pair: [u8; 4]| {
            let [a, b, c, d] = pair;
            format!("\"{:04X}{:04X}\"", encoding.u16([a, b]), encoding.u16([c, d]))
        }),
        VR::US => chunks(bytes, |b| encoding.u16(b).to_string()),
        VR::UL => chunks(bytes, |b| encoding.u32(b).to_string()),
        VR::SS => {
            chunks(bytes, |b| if big { i16::from_be_bytes(b) } else { i16::from_le_bytes(b) }.to_string())
        }
        VR::SL => {
            chunks(bytes, |b| if big { i32::from_be_bytes(b) } else { i32::from_le_bytes(b) }.to_string())
        }
        VR::SV => {
            chunks(bytes, |b| if big { i64::from_be_bytes(b) } else { i64::from_le_bytes(b) }.to_string())
        }
        VR::UV => {
            chunks(bytes, |b| if big { u64::from_be_bytes(b) } else { u64::from_le_bytes(b) }.to_string())
        }
        VR::FL => chunks(bytes, |b| {
            float(f64::from(if big { f32::from_be_bytes(b) } else { f32::from_le_bytes(b) }))
        }),
        VR::FD => chunks(bytes, |b| float(if big { f64::from_be_bytes(b) } else { f64::from_le_bytes(b) })),
        VR::DS => strings(&String::from_utf8_lossy(bytes), number),
        VR::IS => strings(&String::from_utf8_lossy(bytes), integer),
        VR::PN => strings(&charset.decode(bytes), |name| person_name(name.trim_end())),
        VR::LT | VR::ST | VR::UT => vec![text(charset.decode(bytes).trim_end_matches(padding))],
        VR::UR => vec![text(String::from_utf8_lossy(bytes).trim_end_matches(padding))],
        VR::LO | VR::SH => strings(&charset.decode(bytes), |value| text(value.trim_matches(padding))),
        VR::UC => strings(&charset.decode(bytes), |value| text(value.trim_end_matches(padding))),
        _ => strings(&String::from_utf8_lossy(bytes), |value| text(value.trim_matches(padding))),
    }
}

/// Spaces pad text, NUL pads UIDs (PS3.5 section 6.2), and either is met in the other's place.
fn padding(character: char) -> bool {
    character == ' ' || character == '\0'
}

fn chunks<const N: usize>(bytes: &[u8], show: impl Fn([u8; N]) -> String) -> Vec<Option<String>> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| Some(show(*chunk))).collect()
}

fn strings(value: &str, show: impl Fn(&str) -> Option<String>) -> Vec<Option<String>> {
    value.split('\\').map(show).collect()
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| serde_json::Value::from(value).to_string())
}

/// IS may have a sign and leading zeros, which JSON's numbers do not have.
fn integer(value: &str) -> Option<String> {
    match value.trim_matches(padding).parse::<i64>() {
        Ok(parsed) => Some(parsed.to_string()),
        Err(_) => number(value),
    }
}

/// DS is a number where it is one, its digits kept; what is none stays a string.
fn number(value: &str) -> Option<String> {
    let value = value.trim_matches(padding);
    if is_json_number(value) {
        return Some(value.to_owned());
    }
    match value.parse::<f64>() {
        Ok(parsed) if parsed.is_finite() => Some(serde_json::Value::from(parsed).to_string()),
        _ => text(value),
    }
}

/// Whether the text is a JSON number as it stands and no reader takes it for infinite.
fn is_json_number(value: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(value).is_ok()
}

/// JSON has no NaN and no infinity: they are strings. A single-precision number is shown as the double it
/// is equal to, so that readers that know only doubles get the very value.
fn float(value: f64) -> String {
    if value.is_finite() {
        serde_json::Value::from(value).to_string()
    } else if value.is_nan() {
        "\"NaN\"".to_owned()
    } else if value > 0.0 {
        "\"inf\"".to_owned()
    } else {
        "\"-inf\"".to_owned()
    }
}

fn person_name(name: &str) -> Option<String> {
    let groups = ["Alphabetic", "Ideographic", "Phonetic"].into_iter().zip(name.split('='));
    let parts: Vec<_> = groups
        .filter_map(|(group, value)| {
            text(value.trim_matches(padding)).map(|value| format!("\"{group}\":{value}"))
        })
        .collect();
    (!parts.is_empty()).then(|| format!("{{{}}}", parts.join(",")))
}

/// The value's bytes in little endian order, as InlineBinary has them (PS3.18 section F.2.7).
fn little_endian(vr: VR, bytes: &[u8], encoding: Encoding) -> Vec<u8> {
    let width = match vr {
        VR::OW => 2,
        VR::OF | VR::OL => 4,
        VR::OD | VR::OV => 8,
        _ => 1,
    };
    let mut bytes = bytes.to_vec();
    if encoding.big_endian && width > 1 {
        for word in bytes.chunks_exact_mut(width) {
            word.reverse();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(vr: VR, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write(&mut out, vr, bytes, Encoding::EXPLICIT_LITTLE, &Charset::default());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_each_kind_of_value() {
        let cases: [(VR, &[u8], &str); 17] = [
            (VR::CS, b"ORIGINAL\\PRIMARY ", r#"{"vr":"CS","Value":["ORIGINAL","PRIMARY"]}"#),
            (VR::CS, b"", r#"{"vr":"CS"}"#),
            (VR::LO, b"a\\\\b", r#"{"vr":"LO","Value":["a",null,"b"]}"#),
            (VR::UI, b"1.2.3\0", r#"{"vr":"UI","Value":["1.2.3"]}"#),
            (VR::DS, b"0.50\\-1e3 ", r#"{"vr":"DS","Value":[0.50,-1e3]}"#),
            (VR::DS, b"+1.5\\.5\\007", r#"{"vr":"DS","Value":[1.5,0.5,7.0]}"#),
            (VR::DS, b"abc", r#"{"vr":"DS","Value":["abc"]}"#),
            (VR::IS, b"12 ", r#"{"vr":"IS","Value":[12]}"#),
            (VR::US, &[1, 0, 2, 1], r#"{"vr":"US","Value":[1,258]}"#),
            (VR::SS, &[0xFF, 0xFF], r#"{"vr":"SS","Value":[-1]}"#),
            (VR::AT, &[0x10, 0, 0x20, 0], r#"{"vr":"AT","Value":["00100020"]}"#),
            (VR::FD, &1.5f64.to_le_bytes(), r#"{"vr":"FD","Value":[1.5]}"#),
            (VR::FL, &0.1f32.to_le_bytes(), r#"{"vr":"FL","Value":[0.10000000149011612]}"#),
            (VR::FL, &f32::NAN.to_le_bytes(), r#"{"vr":"FL","Value":["NaN"]}"#),
            (VR::OB, &[1, 2, 3], r#"{"vr":"OB","InlineBinary":"AQID"}"#),
            (VR::PN, b"A^B=C^D", r#"{"vr":"PN","Value":[{"Alphabetic":"A^B","Ideographic":"C^D"}]}"#),
            (VR::UT, b" a\\b \"c\" ", r#"{"vr":"UT","Value":[" a\\b \"c\""]}"#),
        ];
        for (vr, bytes, expected) in cases {
            assert_eq!(json(vr, bytes), expected, "{vr:?} {bytes:?}");
        }
    }

    #[test]
    fn big_endian_words_are_turned() {
        let big = Encoding { explicit_vr: true, big_endian: true };
        assert_eq!(little_endian(VR::OW, &[1, 2, 3, 4], big), [2, 1, 4, 3]);
        assert_eq!(little_endian(VR::OB, &[1, 2, 3, 4], big), [1, 2, 3, 4]);
    }
}
