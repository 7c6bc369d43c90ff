//! Results in an order that the query asks for.

use super::{
    matching::is_number,
    view::{Home, home},
    vr,
};
use crate::{InstanceUids, Level, OrderKey, Query, Result, model};
use dicom_core::Tag;
use serde_json::Value;
use std::cmp::Ordering;

impl Level {
    /// Whether results of this level can be put in order by the attribute: by one of their own level, or of one above.
    pub fn can_be_ordered_by(self, attribute: Tag) -> bool {
        let deepest = match self {
            Level::Study => Home::Study,
            Level::Series => Home::Series,
            Level::Instance => Home::Instance,
        };
        home(attribute) <= deepest
    }
}

/// Where a match is; what lies below the level of the search is empty.
pub(super) type Place = InstanceUids;

/// A value to compare by.
#[derive(Debug, PartialEq, PartialOrd)]
enum SortValue {
    Absent,
    Number(f64),
    Text(String),
}

impl SortValue {
    fn of(tag: Tag, element: Option<&Value>) -> Self {
        let Some(text) = element.and_then(model::first_text).filter(|text| !text.is_empty()) else {
            return SortValue::Absent;
        };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        match number.filter(|_| is_number(vr(tag))) {
            Some(number) => SortValue::Number(number),
            None => SortValue::Text(text.to_lowercase()),
        }
    }
}

/// Matches that wait to be put in order: no more than can be returned, and as many again.
pub(super) struct Ordered<'q> {
    keys: &'q [OrderKey],
    /// So many can be returned or passed over.
    needed: usize,
    found: Vec<(Vec<SortValue>, Place)>,
    total: usize,
}

/// Matches that are kept beyond twice those that are needed.
const SPARE: usize = 1024;

impl<'q> Ordered<'q> {
    /// `None` where the query asks for no order.
    pub(super) fn of(query: &'q Query) -> Option<Self> {
        let needed = query.offset.saturating_add(query.limit);
        let keys = query.order.as_slice();
        (!keys.is_empty()).then(|| Ordered { keys, needed, found: Vec::new(), total: 0 })
    }

    /// Takes a match; `element` gives its attributes.
    pub(super) fn add(
        &mut self,
        place: Place,
        mut element: impl FnMut(Tag) -> Result<Option<Value>>,
    ) -> Result<()> {
        let value = |key: &OrderKey| {
            element(key.attribute).map(|element| SortValue::of(key.attribute, element.as_ref()))
        };
        self.found.push((self.keys.iter().map(value).collect::<Result<_>>()?, place));
        self.total += 1;
        if self.found.len() > self.needed.saturating_mul(2).saturating_add(SPARE) {
            self.sort();
            self.found.truncate(self.needed);
        }
        Ok(())
    }

    fn sort(&mut self) {
        let keys = self.keys;
        // Stable: what is equal stays in the order of a search without order.
        self.found.sort_by(|(one, _), (other, _)| {
            let compared = keys.iter().zip(one.iter().zip(other)).map(|(key, (one, other))| {
                let ordering = one.partial_cmp(other).unwrap_or(Ordering::Equal);
                if key.descending { ordering.reverse() } else { ordering }
            });
            compared.fold(Ordering::Equal, Ordering::then)
        });
    }

    /// How many matches there were, and where those lie that are to be returned.
    pub(super) fn finish(mut self, query: &Query) -> (usize, Vec<Place>) {
        self.sort();
        let wanted = self.found.into_iter().skip(query.offset).take(query.limit);
        (self.total, wanted.map(|(_, place)| place).collect())
    }
}
