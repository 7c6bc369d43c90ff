//! What searches look at, in memory: of every slice its vector, and the attributes that filters name, as numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::exemplar::ExemplarSlice;
use crate::query::{Filter, LabelCounts};
use crate::symbols::{Symbol, Symbols};

/// A label on a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) number: u16,
    pub(crate) label: Symbol,
    pub(crate) present: bool,
    /// Its memory could not be read: it answers no search.
    broken: bool,
}

/// A slice.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) study: Symbol,
    pub(crate) series: Symbol,
    pub(crate) patient: Symbol,
    pub(crate) modality: Symbol,
    pub(crate) collection: Symbol,
    pub(crate) seg: Symbol,
    /// Hash of the SOP Instance UID: of the order of as many texts as slices, too many to keep.
    pub(crate) instance: u64,
    pub(crate) pack: u64,
    /// Of this bank's bundle: it answers searches. Others only wait to be removed.
    pub(crate) usable: bool,
    /// Whether the graph that serves has it.
    pub(crate) in_graph: bool,
    pub(crate) entries: Vec<Entry>,
}

impl Row {
    /// The SEG that taught it, and the series it is of.
    pub(crate) fn annotation(&self) -> (Symbol, Symbol) {
        (self.seg, self.series)
    }
}

/// A text's hash, the same as long as the process lives.
pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A filter in symbols.
#[derive(Debug)]
pub(crate) struct Wanted {
    label: Symbol,
    present: Option<bool>,
    modality: Option<Symbol>,
    collection: Option<Symbol>,
    studies: Option<Vec<Symbol>>,
    excluded_studies: Vec<Symbol>,
    excluded_series: Vec<Symbol>,
    excluded_patients: Vec<Symbol>,
}

impl Wanted {
    /// The entry of a row that passes the filter.
    pub(crate) fn entry(&self, row: &Row) -> Option<Entry> {
        let is = |wanted: Option<Symbol>, symbol| wanted.is_none_or(|wanted| wanted == symbol);
        let passes = row.usable
            && is(self.modality, row.modality)
            && is(self.collection, row.collection)
            && self.studies.as_ref().is_none_or(|studies| studies.contains(&row.study))
            && !self.excluded_studies.contains(&row.study)
            && !self.excluded_series.contains(&row.series)
            && !self.excluded_patients.contains(&row.patient);
        let fits = |entry: &&Entry| {
            entry.label == self.label && !entry.broken && self.present.is_none_or(|p| p == entry.present)
        };
        row.entries.iter().find(fits).filter(|_| passes).copied()
    }
}

/// Slices that filters mostly tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Group {
    label: Symbol,
    present: bool,
    modality: Symbol,
    collection: Symbol,
}

/// All slices of the bank, by slot. A slot is used again when its slice has gone.
#[derive(Debug)]
pub(crate) struct Columns {
    dim: usize,
    symbols: Symbols,
    rows: Vec<Option<Row>>,
    /// A unit vector a slot.
    vectors: Vec<f32>,
    free: Vec<u32>,
    slots: BTreeMap<u64, u32>,
    /// Usable slices of each group.
    postings: HashMap<Group, BTreeSet<u32>>,
    /// Slices that point into each pack.
    packs: HashMap<u64, usize>,
    /// Usable slices that the graph does not have.
    tail: BTreeSet<u32>,
    usable: usize,
    in_graph: usize,
}

impl Columns {
    pub(crate) fn new(dim: usize) -> Self {
        Self {
            dim,
            symbols: Symbols::default(),
            rows: Vec::new(),
            vectors: Vec::new(),
            free: Vec::new(),
            slots: BTreeMap::new(),
            postings: HashMap::new(),
            packs: HashMap::new(),
            tail: BTreeSet::new(),
            usable: 0,
            in_graph: 0,
        }
    }

    /// All slices, those of other bundles included.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Slices that can answer searches.
    pub(crate) fn usable(&self) -> usize {
        self.usable
    }

    /// Usable slices that the graph has.
    pub(crate) fn in_graph(&self) -> usize {
        self.in_graph
    }

    /// Usable slices that the graph does not have.
    pub(crate) fn tail(&self) -> impl ExactSizeIterator<Item = (&Row, &[f32])> {
        self.tail.iter().map(|slot| self.slot(*slot))
    }

    /// Adds a slice with its unit vector; `None` for one of another bundle.
    pub(crate) fn insert(&mut self, slice: &ExemplarSlice, vector: Option<&[f32]>) {
        let row = self.row(slice, vector.is_some());
        let slot = self.free.pop().unwrap_or(self.rows.len() as u32);
        let (start, end) = self.span(slot);
        if slot as usize == self.rows.len() {
            self.rows.push(None);
            self.vectors.resize(end, 0.0);
        }
        self.vectors[start..end].fill(0.0);
        if let Some(vector) = vector {
            self.vectors[start..end].copy_from_slice(vector);
            self.tail.insert(slot);
            self.usable += 1;
        }
        self.slots.insert(row.id, slot);
        *self.packs.entry(row.pack).or_default() += 1;
        self.post(slot, &row);
        self.rows[slot as usize] = Some(row);
    }

    /// Replaces a slice's labels by those of its new record.
    pub(crate) fn relabel(&mut self, slice: &ExemplarSlice) {
        let Some(slot) = self.slots.get(&slice.id.0).copied() else { return };
        let Some(mut row) = self.rows[slot as usize].take() else { return };
        self.unpost(slot, &row);
        let broken: Vec<u16> = row.entries.iter().filter(|e| e.broken).map(|e| e.number).collect();
        row.entries = self.entries(slice);
        row.entries.iter_mut().for_each(|entry| entry.broken = broken.contains(&entry.number));
        self.post(slot, &row);
        self.rows[slot as usize] = Some(row);
    }

    /// Removes a slice. Answers its pack if nothing points into it any more.
    pub(crate) fn remove(&mut self, id: u64) -> Option<u64> {
        let slot = self.slots.remove(&id)?;
        let row = self.rows[slot as usize].take()?;
        self.unpost(slot, &row);
        self.tail.remove(&slot);
        self.usable -= usize::from(row.usable);
        self.in_graph -= usize::from(row.in_graph);
        self.free.push(slot);
        let users = self.packs.get_mut(&row.pack)?;
        *users -= 1;
        let unused = *users == 0;
        if unused {
            self.packs.remove(&row.pack);
        }
        unused.then_some(row.pack)
    }

    pub(crate) fn get(&self, id: u64) -> Option<(&Row, &[f32])> {
        self.slots.get(&id).map(|slot| self.slot(*slot))
    }

    /// Rows in the order of their identities, from one on.
    pub(crate) fn from(&self, id: u64) -> impl Iterator<Item = &Row> {
        self.slots.range(id..).map(|(_, slot)| self.slot(*slot).0)
    }

    pub(crate) fn has_pack(&self, pack: u64) -> bool {
        self.packs.contains_key(&pack)
    }

    /// Takes an entry out of searches.
    pub(crate) fn mark_broken(&mut self, id: u64, number: u16) -> bool {
        let row = self.slots.get(&id).and_then(|slot| self.rows[*slot as usize].as_mut());
        let entry = row.and_then(|row| row.entries.iter_mut().find(|entry| entry.number == number));
        entry.is_some_and(|entry| !std::mem::replace(&mut entry.broken, true))
    }

    /// Says which slices the graph that serves from now on has.
    pub(crate) fn set_graph(&mut self, ids: impl Iterator<Item = u64>) {
        let mut members: Vec<u32> = ids.filter_map(|id| self.slots.get(&id).copied()).collect();
        members.sort_unstable();
        self.tail.clear();
        self.in_graph = 0;
        for (slot, row) in (0u32..).zip(&mut self.rows) {
            let Some(row) = row.as_mut().filter(|row| row.usable) else { continue };
            row.in_graph = members.binary_search(&slot).is_ok();
            if row.in_graph {
                self.in_graph += 1;
            } else {
                self.tail.insert(slot);
            }
        }
    }

    /// Identities and vectors of all usable slices, as one copy: what a graph is built from.
    pub(crate) fn snapshot(&self) -> (Vec<u64>, Vec<f32>) {
        let mut ids = Vec::with_capacity(self.usable);
        let mut vectors = Vec::with_capacity(self.usable * self.dim);
        for slot in self.slots.values() {
            let (row, vector) = self.slot(*slot);
            if row.usable {
                ids.push(row.id);
                vectors.extend_from_slice(vector);
            }
        }
        (ids, vectors)
    }

    /// The filter in symbols; `None` where it names something that no slice has.
    pub(crate) fn wanted(&self, filter: &Filter<'_>) -> Option<Wanted> {
        let find = |text: &str| self.symbols.find(text);
        let known = |texts: &[String]| texts.iter().filter_map(|text| find(text)).collect::<Vec<_>>();
        let optional = |text: Option<&str>| match text {
            Some(text) => find(text).map(Some),
            None => Some(None),
        };
        Some(Wanted {
            label: find(filter.label_key)?,
            present: filter.present,
            modality: optional(filter.modality)?,
            collection: optional(filter.collection)?,
            studies: (!filter.studies.is_empty()).then(|| known(filter.studies)),
            excluded_studies: known(filter.excluded_studies),
            excluded_series: known(filter.excluded_series),
            excluded_patients: known(filter.excluded_patients),
        })
    }

    /// Number of slices that pass a filter but for studies and patients: at least as many as pass it.
    pub(crate) fn candidates(&self, wanted: &Wanted) -> usize {
        self.groups(wanted).map(BTreeSet::len).sum()
    }

    /// Those slices.
    pub(crate) fn alike(&self, wanted: &Wanted) -> impl Iterator<Item = (&Row, &[f32])> {
        self.groups(wanted).flatten().map(|slot| self.slot(*slot))
    }

    fn groups(&self, wanted: &Wanted) -> impl Iterator<Item = &BTreeSet<u32>> {
        let fits = |group: &Group| {
            group.label == wanted.label
                && wanted.present.is_none_or(|present| present == group.present)
                && wanted.modality.is_none_or(|modality| modality == group.modality)
                && wanted.collection.is_none_or(|collection| collection == group.collection)
        };
        self.postings.iter().filter(move |(group, _)| fits(group)).map(|(_, slots)| slots)
    }

    pub(crate) fn symbol(&self, text: &str) -> Option<Symbol> {
        self.symbols.find(text)
    }

    /// A SEG and a series as [`Row::annotation`] names them; none where either is unknown.
    pub(crate) fn annotation(&self, seg: &str, series: &str) -> Option<(Symbol, Symbol)> {
        Some((self.symbol(seg)?, self.symbol(series)?))
    }

    /// What there is of each label.
    pub(crate) fn labels(&self) -> Vec<LabelCounts> {
        #[derive(Default)]
        struct Tally {
            present: usize,
            absent: usize,
            studies: BTreeSet<Symbol>,
        }
        let mut tallies = BTreeMap::<_, Tally>::new();
        for row in self.rows.iter().flatten().filter(|row| row.usable) {
            for entry in &row.entries {
                let tally = tallies.entry((entry.label, row.collection, row.modality)).or_default();
                tally.studies.insert(row.study);
                if entry.present { tally.present += 1 } else { tally.absent += 1 }
            }
        }
        let text = |symbol| self.symbols.text(symbol).to_owned();
        let counts = tallies.into_iter().map(|((label, collection, modality), tally)| LabelCounts {
            label_key: text(label),
            collection: text(collection),
            modality: text(modality),
            present: tally.present,
            absent: tally.absent,
            studies: tally.studies.len(),
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_by(|a, b| {
            (&a.label_key, &a.collection, &a.modality).cmp(&(&b.label_key, &b.collection, &b.modality))
        });
        counts
    }

    fn span(&self, slot: u32) -> (usize, usize) {
        let start = slot as usize * self.dim;
        (start, start + self.dim)
    }

    /// A slot in use: those in `slots`, `postings` and `tail` are.
    fn slot(&self, slot: u32) -> (&Row, &[f32]) {
        let (start, end) = self.span(slot);
        match &self.rows[slot as usize] {
            Some(row) => (row, &self.vectors[start..end]),
            None => unreachable!("a slot in use has a row"),
        }
    }

    fn row(&mut self, slice: &ExemplarSlice, usable: bool) -> Row {
        Row {
            id: slice.id.0,
            study: self.symbols.make(&slice.image.study_instance_uid),
            series: self.symbols.make(&slice.image.series_instance_uid),
            patient: self.symbols.make(&slice.image.patient_id),
            modality: self.symbols.make(&slice.image.modality),
            collection: self.symbols.make(&slice.collection),
            seg: self.symbols.make(&slice.seg_sop_instance_uid),
            instance: hash(&slice.image.sop_instance_uid),
            pack: slice.pack,
            usable,
            in_graph: false,
            entries: self.entries(slice),
        }
    }

    fn entries(&mut self, slice: &ExemplarSlice) -> Vec<Entry> {
        let mut entry = |label: &crate::SliceLabel| Entry {
            number: label.entry,
            label: self.symbols.make(&label.label_key),
            present: label.present,
            broken: false,
        };
        slice.labels.iter().map(&mut entry).collect()
    }

    fn post(&mut self, slot: u32, row: &Row) {
        for entry in row.entries.iter().filter(|_| row.usable) {
            self.postings.entry(group(row, entry)).or_default().insert(slot);
        }
    }

    fn unpost(&mut self, slot: u32, row: &Row) {
        for entry in row.entries.iter().filter(|_| row.usable) {
            if let Some(slots) = self.postings.get_mut(&group(row, entry)) {
                slots.remove(&slot);
            }
        }
    }
}

fn group(row: &Row, entry: &Entry) -> Group {
    Group { label: entry.label, present: entry.present, modality: row.modality, collection: row.collection }
}
