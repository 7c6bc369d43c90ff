//! Text under SpecificCharacterSet (0008,0005), code extensions included (PS3.3 section C.12.1.1.2, PS3.5
//! section 6.1.2.5).

use dicom_encoding::text::{SpecificCharacterSet, TextCodec};
use encoding_rs::{EUC_JP, Encoding, ISO_8859_15, WINDOWS_1254};

const ESCAPE: u8 = 0x1B;

/// The character sets in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Charset {
    initial: Repertoire,
}

/// One character set.
#[derive(Clone, Debug)]
enum Repertoire {
    Usual(SpecificCharacterSet),
    /// Those that `dicom-encoding` does not have.
    Other(&'static Encoding),
    /// JIS X 0212, two bytes a character.
    SupplementaryKanji,
}

impl Default for Repertoire {
    fn default() -> Self {
        Repertoire::Usual(SpecificCharacterSet::default())
    }
}

impl Repertoire {
    /// By its defined term (PS3.3 Tables C.12-2 to C.12-5).
    fn of(term: &str) -> Option<Self> {
        match term {
            // ISO 8859-9, which the code page extends where ISO 8859 has control characters.
            "ISO_IR 148" | "ISO 2022 IR 148" => Some(Repertoire::Other(WINDOWS_1254)),
            "ISO_IR 203" | "ISO 2022 IR 203" => Some(Repertoire::Other(ISO_8859_15)),
            "ISO 2022 IR 159" => Some(Repertoire::SupplementaryKanji),
            term => SpecificCharacterSet::from_code(term).map(Repertoire::Usual),
        }
    }

    fn decode(&self, bytes: &[u8]) -> String {
        match self {
            Repertoire::Usual(charset) => {
                charset.decode(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned())
            }
            Repertoire::Other(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
            Repertoire::SupplementaryKanji => {
                // EUC has that set, too, its characters between 0xA1A1 and 0xFEFE behind 0x8F.
                let (pairs, rest) = bytes.as_chunks::<2>();
                let euc = pairs.iter().flat_map(|[high, low]| [0x8F, high | 0x80, low | 0x80]);
                let euc: Vec<u8> = euc.chain(rest.iter().copied()).collect();
                EUC_JP.decode_without_bom_handling(&euc).0.into_owned()
            }
        }
    }
}

impl Charset {
    /// From the attribute's values; an unknown first value leaves the default repertoire.
    pub(crate) fn from_values(values: &str) -> Self {
        let first = values.split('\\').next().unwrap_or_default().trim();
        Charset { initial: Repertoire::of(first).unwrap_or_default() }
    }

    /// Decodes a whole value. What cannot be decoded shows as the replacement character, never as an error.
    pub(crate) fn decode(&self, bytes: &[u8]) -> String {
        if bytes.is_ascii() && !bytes.contains(&ESCAPE) {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let mut parts = bytes.split(|byte| *byte == ESCAPE);
        let mut text = parts.next().map(|part| self.initial.decode(part)).unwrap_or_default();
        for part in parts {
            text.push_str(&self.extended(part));
        }
        text
    }

    /// Decodes what follows an escape character.
    fn extended(&self, part: &[u8]) -> String {
        let Some((escape, code)) = ESCAPES.iter().find(|(escape, _)| part.starts_with(escape)) else {
            return self.initial.decode(part);
        };
        let charset = Repertoire::of(code).unwrap_or_default();
        let rest = part.get(escape.len()..).unwrap_or_default();
        if *code == "ISO 2022 IR 87" {
            // The two-byte Japanese set is told from ASCII by its escape sequence alone.
            let whole: Vec<u8> = [&[ESCAPE], *escape, rest].concat();
            return charset.decode(&whole);
        }
        charset.decode(rest)
    }
}

/// Escape sequences without the escape character, and the defined term each selects (PS3.3 Tables C.12-3 and C.12-4).
const ESCAPES: [(&[u8], &str); 18] = [
    (b"(B", "ISO 2022 IR 6"),
    (b"-A", "ISO 2022 IR 100"),
    (b"-B", "ISO 2022 IR 101"),
    (b"-C", "ISO 2022 IR 109"),
    (b"-D", "ISO 2022 IR 110"),
    (b"-L", "ISO 2022 IR 144"),
    (b"-G", "ISO 2022 IR 127"),
    (b"-F", "ISO 2022 IR 126"),
    (b"-H", "ISO 2022 IR 138"),
    (b"-M", "ISO 2022 IR 148"),
    (b"-b", "ISO 2022 IR 203"),
    (b"(J", "ISO 2022 IR 13"),
    (b")I", "ISO 2022 IR 13"),
    (b"-T", "ISO 2022 IR 166"),
    (b"$B", "ISO 2022 IR 87"),
    (b"$(D", "ISO 2022 IR 159"),
    (b"$)C", "ISO 2022 IR 149"),
    (b"$)A", "ISO 2022 IR 58"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of PS3.5 Annexes H, I and of PS3.3: bytes under a character set, and what they say.
    #[test]
    fn decodes_the_standards_examples() {
        let cases: [(&str, &[u8], &str); 9] = [
            ("", b"Adams^John", "Adams^John"),
            ("ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
            ("ISO_IR 148", b"Ya\xf0mur^\xde\xfcle", "Yağmur^Şüle"),
            ("ISO_IR 203", b"B\xbduf^10 \xa4", "Bœuf^10 €"),
            ("\\ISO 2022 IR 87\\ISO 2022 IR 159", b"Cho=\x1b$(D0!\x1b(B^\x1b$B;3\x1b(B", "Cho=丂^山"),
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
