//! Text under SpecificCharacterSet (0008,0005), code extensions included (PS3.3 section C.12.1.1.2, PS3.5
//! section 6.1.2.5).

use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

const ESCAPE: u8 = 0x1B;

/// The character sets in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Charset {
    initial: SpecificCharacterSet,
}

impl Charset {
    /// From the attribute's values; an unknown first value leaves the default repertoire.
    pub(crate) fn from_values(values: &str) -> Self {
        let first = values.split('\\').next().unwrap_or_default().trim();
        Charset { initial: SpecificCharacterSet::from_code(first).unwrap_or_default() }
    }

    /// Decodes a whole value. What cannot be decoded shows as the replacement character, never as an error.
    pub(crate) fn decode(&self, bytes: &[u8]) -> String {
        if bytes.is_ascii() && !bytes.contains(&ESCAPE) {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let mut parts = bytes.split(|byte| *byte == ESCAPE);
        let mut text = parts.next().map(|part| decode(&self.initial, part)).unwrap_or_default();
        for part in parts {
            text.push_str(&self.extended(part));
        }
        text
    }

    /// Decodes what follows an escape character.
    fn extended(&self, part: &[u8]) -> String {
        let Some((escape, code)) = ESCAPES.iter().find(|(escape, _)| part.starts_with(escape)) else {
            return decode(&self.initial, part);
        };
        let charset = SpecificCharacterSet::from_code(code).unwrap_or_default();
        let rest = part.get(escape.len()..).unwrap_or_default();
        if *code == "ISO 2022 IR 87" {
            // The two-byte Japanese set is told from ASCII by its escape sequence alone.
            let whole: Vec<u8> = [&[ESCAPE], *escape, rest].concat();
            return decode(&charset, &whole);
        }
        decode(&charset, rest)
    }
}

fn decode(charset: &SpecificCharacterSet, bytes: &[u8]) -> String {
    charset.decode(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned())
}

/// Escape sequences without the escape character, and the defined term each selects (PS3.3 Tables C.12-3 and C.12-4).
const ESCAPES: [(&[u8], &str); 15] = [
    (b"(B", "ISO 2022 IR 6"),
    (b"-A", "ISO 2022 IR 100"),
    (b"-B", "ISO 2022 IR 101"),
    (b"-C", "ISO 2022 IR 109"),
    (b"-D", "ISO 2022 IR 110"),
    (b"-L", "ISO 2022 IR 144"),
    (b"-G", "ISO 2022 IR 127"),
    (b"-F", "ISO 2022 IR 126"),
    (b"-H", "ISO 2022 IR 138"),
    (b"(J", "ISO 2022 IR 13"),
    (b")I", "ISO 2022 IR 13"),
    (b"-T", "ISO 2022 IR 166"),
    (b"$B", "ISO 2022 IR 87"),
    (b"$)C", "ISO 2022 IR 149"),
    (b"$)A", "ISO 2022 IR 58"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of PS3.5 Annexes H, I and of PS3.3: bytes under a character set, and what they say.
    #[test]
    fn decodes_the_standards_examples() {
        let cases: [(&str, &[u8], &str); 6] = [
            ("", b"Adams^John", "Adams^John"),
            ("ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
            ("ISO_IR 192", "Wang^XiaoDong=王^小東".as_bytes(), "Wang^XiaoDong=王^小東"),
            ("GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
            (
                "\\ISO 2022 IR 87",
                b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
                "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ),
            (
                "\\ISO 2022 IR 149",
                b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
                "Hong^Gildong=洪^吉洞=홍^길동",
            ),
        ];
        for (charset, bytes, expected) in cases {
            assert_eq!(Charset::from_values(charset).decode(bytes), expected, "{charset}");
        }
    }
}
