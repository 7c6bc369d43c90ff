//! Questions to the bank and their answers.

use crate::exemplar::Exemplar;

/// The exemplars of a label most similar to a slice.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// The slice's retrieval vector; need not be normalised.
    pub vector: &'a [f32],
    /// Exemplars wanted at the most.
    pub k: usize,
    /// Which exemplars may answer.
    pub filter: Filter<'a>,
}

/// Which exemplars may answer a query. Exemplars of another bundle or with unreadable memories never do.
#[derive(Debug, Clone, Default)]
pub struct Filter<'a> {
    /// Key of the label.
    pub label_key: &'a str,
    /// Only those where the label has pixels (true) or has none (false).
    pub present: Option<bool>,
    /// Only this modality.
    pub modality: Option<&'a str>,
    /// Only this collection.
    pub collection: Option<&'a str>,
    /// Only these studies, where any is named.
    pub studies: &'a [String],
    /// None of these studies.
    pub excluded_studies: &'a [String],
    /// None of these series.
    pub excluded_series: &'a [String],
    /// None of these patients.
    pub excluded_patients: &'a [String],
}

/// An exemplar that answers a query.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The exemplar.
    pub exemplar: Exemplar,
    /// Cosine of its vector and the query's, -1..1.
    pub similarity: f32,
}

/// What the bank knows of one label in one collection and modality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelCounts {
    /// Key of the label.
    pub label_key: String,
    /// Collection.
    pub collection: String,
    /// Modality.
    pub modality: String,
    /// Slices where it has pixels.
    pub present: usize,
    /// Slices where it is known to have none.
    pub absent: usize,
    /// Studies it is annotated in.
    pub studies: usize,
}

/// Which slices to list. Nothing named: all of them.
#[derive(Debug, Clone, Default)]
pub struct ListFilter<'a> {
    /// Only those with this label, negatives included.
    pub label_key: Option<&'a str>,
    /// Only this study.
    pub study_instance_uid: Option<&'a str>,
    /// Only this series.
    pub series_instance_uid: Option<&'a str>,
    /// Only those that this SEG annotates.
    pub seg_sop_instance_uid: Option<&'a str>,
    /// Only this collection.
    pub collection: Option<&'a str>,
}
