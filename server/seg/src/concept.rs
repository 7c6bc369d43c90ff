//! What a segment is of: the identity of a label.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::error::{Error, LabelKeySnafu};
use crate::{Code, Result};

/// The coded concept of a segment (PS3.3 C.8.20.4). Its identity is the property type and the set of modifiers;
/// the category, the order of modifiers and every meaning are left out of equality and hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabelConcept {
    /// SegmentedPropertyCategoryCodeSequence, `None` where unknown (a concept parsed from its key).
    pub category: Option<Code>,
    /// SegmentedPropertyTypeCodeSequence.
    pub property_type: Code,
    /// SegmentedPropertyTypeModifierCodeSequence: laterality and the like.
    pub modifiers: Vec<Code>,
}

impl LabelConcept {
    /// Stable text of the identity: the type's key, then the modifiers' keys sorted and without repetition,
    /// joined by `|`: `SCT:64033007|SCT:24028007`.
    pub fn key(&self) -> String {
        let mut parts = vec![self.property_type.key()];
        parts.extend(self.sorted_modifiers().iter().map(|modifier| modifier.key()));
        parts.join("|")
    }

    /// The concept that a [`LabelConcept::key`] stands for, without category and meanings.
    ///
    /// # Errors
    /// [`Error::LabelKey`] where the text is not such a key.
    pub fn parse(key: &str) -> Result<Self> {
        let codes: Option<Vec<Code>> = key.split('|').map(Code::from_key).collect();
        let mut codes = codes.ok_or_else(|| LabelKeySnafu { key }.build())?.into_iter();
        let property_type = codes.next().ok_or_else(|| LabelKeySnafu { key }.build())?;
        Ok(Self { category: None, property_type, modifiers: codes.collect() })
    }

    /// Words for people: the type's meaning and the modifiers' in parentheses.
    pub fn meaning(&self) -> String {
        let modifiers: Vec<&str> = self.modifiers.iter().map(|modifier| modifier.meaning.as_str()).collect();
        match modifiers.is_empty() {
            true => self.property_type.meaning.clone(),
            false => format!("{} ({})", self.property_type.meaning, modifiers.join(", ")),
        }
    }

    fn sorted_modifiers(&self) -> Vec<&Code> {
        let mut modifiers: Vec<&Code> = self.modifiers.iter().collect();
        modifiers.sort();
        modifiers.dedup();
        modifiers
    }
}

impl PartialEq for LabelConcept {
    fn eq(&self, other: &Self) -> bool {
        self.property_type == other.property_type && self.sorted_modifiers() == other.sorted_modifiers()
    }
}

impl Eq for LabelConcept {}

impl Hash for LabelConcept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.property_type.hash(state);
        self.sorted_modifiers().hash(state);
    }
}

impl std::str::FromStr for LabelConcept {
    type Err = Error;

    fn from_str(key: &str) -> Result<Self> {
        Self::parse(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kidney(modifiers: &[(&str, &str)]) -> LabelConcept {
        LabelConcept {
            category: Some(Code::new("91723000", "SCT", "Anatomical Structure")),
            property_type: Code::new("64033007", "SCT", "Kidney"),
            modifiers: modifiers.iter().map(|(value, scheme)| Code::new(*value, *scheme, "Right")).collect(),
        }
    }

    #[test]
    fn identity_is_type_and_set_of_modifiers() {
        let right = kidney(&[("24028007", "SCT")]);
        assert_eq!(right, kidney(&[("G-A100", "SRT")]));
        assert_eq!(right, kidney(&[("G-A100", "SRT"), ("24028007", "SCT")]));
        assert_ne!(right, kidney(&[("7771000", "SCT")]));
        assert_ne!(right, kidney(&[]));
        assert_eq!(right.key(), "SCT:64033007|SCT:24028007");
        assert_eq!(
            kidney(&[("7771000", "SCT"), ("24028007", "SCT")]).key(),
            kidney(&[("G-A100", "SRT"), ("G-A101", "SNM3")]).key()
        );
    }

    #[test]
    fn keys_parse_back() {
        let concept = kidney(&[("24028007", "SCT")]);
        assert_eq!(LabelConcept::parse(&concept.key()).unwrap(), concept);
        for bad in ["", "SCT", "SCT:", ":1", "SCT:1|", "SCT:1||SCT:2", "SCT:%G1", "SCT:%2"] {
            assert!(LabelConcept::parse(bad).is_err(), "{bad:?}");
        }
    }
}
