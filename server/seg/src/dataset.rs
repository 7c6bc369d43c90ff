//! Reading attributes of a dataset without trusting it.

use dicom_core::Tag;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// The text of an attribute without padding; `None` where absent, empty or not text.
pub(crate) fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let value = object.get(tag)?.to_str().ok()?;
    let trimmed = value.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// The first value of an integer attribute, binary or text; `None` where absent or out of range.
pub(crate) fn integer<T: TryFrom<i64>>(object: &InMemDicomObject, tag: Tag) -> Option<T> {
    T::try_from(object.get(tag)?.to_int::<i64>().ok()?).ok()
}

/// Exactly N finite numbers, or at least N where more are there.
pub(crate) fn numbers<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Option<[f64; N]> {
    let values = object.get(tag)?.value().to_multi_float64().ok()?;
    let first: [f64; N] = values.get(..N)?.try_into().ok()?;
    first.iter().all(|value| value.is_finite()).then_some(first)
}

/// The items of a sequence; none where it is absent.
pub(crate) fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(InMemElement::items).unwrap_or_default()
}

/// The first item of a sequence.
pub(crate) fn first_item(object: &InMemDicomObject, tag: Tag) -> Option<&InMemDicomObject> {
    items(object, tag).first()
}
