//! SNOMED-RT codes of older objects and their SNOMED CT equals (PS3.16 Annex O).

use std::collections::HashMap;
use std::sync::LazyLock;

/// The codes of the anatomic region, laterality and segmentation context groups (CID 244, 4031, 7150 to 7199 and
/// those they include): SNOMED-RT, tab, SNOMED CT.
static TABLE: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    include_str!("srt_to_sct.tsv").lines().filter_map(|line| line.split_once('\t')).collect()
});

/// The SNOMED CT code of a SNOMED-RT code.
pub(crate) fn to_sct(srt: &str) -> Option<&'static str> {
    // SNOMED-RT values alone have an axis letter and a dash: no need to look up the rest.
    if !srt.contains('-') {
        return None;
    }
    TABLE.get(srt).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_holds_the_common_codes() {
        let pairs = [
            ("T-62000", "10200004"),
            ("T-71000", "64033007"),
            ("T-C3000", "78961009"),
            ("G-A100", "24028007"),
            ("G-A101", "7771000"),
            ("T-D0050", "85756007"),
            ("M-01000", "49755003"),
        ];
        for (srt, sct) in pairs {
            assert_eq!(to_sct(srt), Some(sct), "{srt}");
        }
        assert_eq!(to_sct("10200004"), None);
    }

    #[test]
    fn every_line_is_a_pair() {
        assert_eq!(TABLE.len(), include_str!("srt_to_sct.tsv").lines().count());
        assert!(TABLE.values().all(|sct| sct.chars().all(|digit| digit.is_ascii_digit())));
    }
}
