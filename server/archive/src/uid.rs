//! UIDs (PS3.5 section 9.1).

use crate::StoreError;

/// Whether the text is a UID: digits in components set apart by dots, 64 characters at most.
///
/// A component with a leading zero breaks PS3.5 but is met in practice and harms nobody: it passes.
pub(crate) fn is_valid(text: &str) -> bool {
    text.len() <= 64
        && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The UID, or why it is none.
pub(crate) fn checked(value: String, attribute: &'static str) -> Result<String, StoreError> {
    if value.is_empty() {
        Err(StoreError::MissingUid { attribute })
    } else if is_valid(&value) {
        Ok(value)
    } else {
        Err(StoreError::BadUid { attribute, value: value.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tells_uids_from_other_text() {
        for good in ["1", "1.2.840.10008.1.2", "2.25.0", "1.02.3"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", ".", "..", "1..2", "1.", ".1", "1.a", "1/2", "1.2 ", "१.२", &"1".repeat(65)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_valid_uid_is_a_harmless_file_name(text in "\\PC{0,70}") {
            if is_valid(&text) {
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
                prop_assert!(!text.starts_with('.') && !text.is_empty());
            }
        }
    }
}
