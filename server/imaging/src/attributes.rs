//! Reading attributes: absent, empty and unreadable are the same to most callers, and a frame's functional
//! groups stand above its image's own attributes.

use crate::error::{Error, MissingAttributeSnafu, Result};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use snafu::OptionExt;

/// A value as trimmed text. None where absent or empty.
pub(crate) fn text(item: &InMemDicomObject, tag: Tag) -> Option<String> {
    let text = item.get(tag)?.to_str().ok()?;
    let text = text.trim_matches([' ', '\0']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// The values of a multi-valued text attribute, upper case as CS values are; empty where absent.
pub(crate) fn codes(item: &InMemDicomObject, tag: Tag) -> Vec<String> {
    let values = item.get(tag).and_then(|element| element.to_multi_str().ok().map(|v| v.to_vec()));
    values.unwrap_or_default().iter().map(|value| value.trim().to_ascii_uppercase()).collect()
}

/// A value as an integer.
pub(crate) fn integer(item: &InMemDicomObject, tag: Tag) -> Option<i64> {
    item.get(tag)?.to_int::<i64>().ok()
}

/// All values as finite floats. None where absent, empty, or not all numbers.
pub(crate) fn floats(item: &InMemDicomObject, tag: Tag) -> Option<Vec<f64>> {
    let values = item.get(tag)?.to_multi_float64().ok()?;
    (!values.is_empty() && values.iter().all(|value| value.is_finite())).then_some(values)
}

/// The first value as a finite float.
pub(crate) fn float(item: &InMemDicomObject, tag: Tag) -> Option<f64> {
    floats(item, tag)?.first().copied()
}

/// Exactly `N` finite floats.
pub(crate) fn float_array<const N: usize>(item: &InMemDicomObject, tag: Tag) -> Option<[f64; N]> {
    floats(item, tag)?.try_into().ok()
}

/// The first item of a sequence.
pub(crate) fn first_item(item: &InMemDicomObject, tag: Tag) -> Option<&InMemDicomObject> {
    item.get(tag)?.items()?.first()
}

/// A mandatory unsigned short.
pub(crate) fn required_u16(item: &InMemDicomObject, tag: Tag, name: &'static str) -> Result<u16> {
    let value = integer(item, tag).context(MissingAttributeSnafu { name })?;
    u16::try_from(value).map_err(|_| Error::BadAttribute { name, value: value.to_string() })
}

/// The items in which an attribute of one frame may stand, the most specific first: the functional group of
/// the frame, the shared one, the image itself (PS3.3 C.7.6.16). `frame` counts from 1.
pub(crate) fn group_items(
    object: &DefaultDicomObject,
    frame: usize,
    group: Tag,
) -> impl Iterator<Item = &InMemDicomObject> {
    let per_frame = object
        .get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
        .and_then(|element| element.items())
        .and_then(|items| items.get(frame.checked_sub(1)?))
        .and_then(|item| first_item(item, group));
    let shared =
        first_item(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).and_then(|item| first_item(item, group));
    per_frame.into_iter().chain(shared).chain(std::iter::once::<&InMemDicomObject>(object))
}

/// The first of [`group_items`] that holds an attribute, read by `read`.
pub(crate) fn of_frame<T>(
    object: &DefaultDicomObject,
    frame: usize,
    group: Tag,
    read: impl Fn(&InMemDicomObject) -> Option<T>,
) -> Option<T> {
    group_items(object, frame, group).find_map(read)
}
