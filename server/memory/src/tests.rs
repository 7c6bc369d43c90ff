//! The bank as a whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ndarray::Array3;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::*;

const DIM: usize = 8;
const SHAPE: [usize; 3] = [2, 3, 3];

struct Home {
    folder: TempDir,
    db: sled::Db,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = sled::open(folder.path().join("db")).unwrap();
        Self { folder, db }
    }

    fn bank(&self) -> Bank {
        self.bank_with(|_| ())
    }

    fn bank_with(&self, change: impl FnOnce(&mut BankOptions)) -> Bank {
        let mut options = BankOptions::new("compact@1+0", DIM, SHAPE);
        change(&mut options);
        Bank::open(self.folder.path(), self.db.open_tree("memory").unwrap(), options).unwrap()
    }

    fn packs(&self) -> usize {
        fs::read_dir(self.folder.path().join("features")).unwrap().count()
    }
}

fn memory(value: f32) -> Memory {
    Array3::from_elem(SHAPE, value).into()
}

/// A unit vector along an axis, a little turned.
fn vector(axis: usize) -> Vec<f32> {
    (0..DIM).map(|i| if i == axis { 2.0 } else { 0.1 * i as f32 }).collect()
}

fn image(study: &str, number: u32) -> ImageIdentity {
    ImageIdentity {
        study_instance_uid: study.to_owned(),
        series_instance_uid: format!("{study}.1"),
        sop_instance_uid: format!("{study}.1.{number}"),
        frame: 1,
        patient_id: format!("patient of {study}"),
        modality: "MR".to_owned(),
    }
}

fn label(key: &str, value: f32) -> NewLabel {
    NewLabel { label_key: key.to_owned(), area_fraction: 0.25, whole: memory(value), crop: None }
}

fn absence(key: &str) -> NewAbsence {
    NewAbsence { label_key: key.to_owned(), crop: None }
}

fn slice(study: &str, number: u32, present: &[&str], absent: &[&str]) -> NewSlice {
    NewSlice {
        image: image(study, number),
        slice_index: number,
        slice_position: 0.1 * number as f32,
        collection: "default".to_owned(),
        created: 1,
        vector: vector(number as usize),
        present: present.iter().map(|key| label(key, number as f32)).collect(),
        absent: absent.iter().map(|&key| absence(key)).collect(),
        empty: (!absent.is_empty()).then(|| memory(-1.0)),
    }
}

fn ingest(bank: &Bank, seg: &str, slices: Vec<NewSlice>, superseded: &[Superseded]) -> Result<usize> {
    let definition = LabelDefinition { key: "liver".into(), name: "Liver".into(), codes: "{}".into() };
    let series = slices.first().map_or("1.1".to_owned(), |slice| slice.image.series_instance_uid.clone());
    let mut ingest = bank.ingest(seg, &series, vec![definition])?;
    for slice in slices {
        ingest.push(slice)?;
    }
    ingest.commit(superseded)
}

/// Study and slice index of the hits for a label.
fn found(bank: &Bank, axis: usize, filter: Filter<'_>) -> Vec<(String, u32)> {
    let query = Query { vector: &vector(axis), k: 10, filter };
    let hits = bank.search(&query).unwrap();
    let identity =
        |hit: Hit| (hit.exemplar.slice.image.study_instance_uid.clone(), hit.exemplar.slice.slice_index);
    hits.into_iter().map(identity).collect()
}

fn of(label_key: &str) -> Filter<'_> {
    Filter { label_key, ..Filter::default() }
}

#[test]
fn what_goes_in_comes_back() {
    let home = Home::new();
    for reopened in [false, true] {
        let bank = home.bank();
        if !reopened {
            let mut with_crop = slice("1", 3, &["liver"], &["spleen"]);
            let rectangle = Rectangle { row: 1.0, column: 2.0, rows: 3.0, columns: 4.0 };
            with_crop.absent[0].crop = Some(NewCrop { rectangle, memory: memory(44.0) });
            with_crop.present[0].crop = Some(NewCrop { rectangle, memory: memory(33.0) });
            ingest(&bank, "seg", vec![with_crop, slice("1", 4, &["liver", "spleen"], &[])], &[]).unwrap();
        }
        let hits = bank.search(&Query { vector: &vector(3), k: 2, filter: of("liver") }).unwrap();
        let [first, second] = hits.as_slice() else { panic!("{} hits", hits.len()) };
        assert!((first.similarity - 1.0).abs() < 1e-6 && second.similarity < 0.9);
        assert_eq!(first.exemplar.slice.image, image("1", 3));
        assert_eq!(bank.exemplar(first.exemplar.id).unwrap().label, first.exemplar.label);
        let id: ExemplarId = first.exemplar.id.to_string().parse().unwrap();
        assert_eq!(*bank.memory(id, View::Whole).unwrap(), memory(3.0));
        assert_eq!(*bank.memory(id, View::Crop).unwrap(), memory(33.0));
        assert_eq!(first.exemplar.label.crop.unwrap().columns, 4.0);
        let none = bank.memory_of(&second.exemplar, View::Crop).unwrap_err();
        assert!(matches!(none, Error::NoMemory { .. }));
        let absent = Filter { present: Some(false), ..of("spleen") };
        let hits = bank.search(&Query { vector: &vector(3), k: 2, filter: absent }).unwrap();
        assert_eq!(*bank.memory_of(&hits[0].exemplar, View::Whole).unwrap(), memory(-1.0));
        assert_eq!(*bank.memory_of(&hits[0].exemplar, View::Crop).unwrap(), memory(44.0));
        assert_eq!(hits.len(), 1);
        let counts = |label: &str, present, absent| LabelCounts {
            label_key: label.into(),
            collection: "default".into(),
            modality: "MR".into(),
            present,
            absent,
            studies: 1,
        };
        assert_eq!(bank.labels(), [counts("liver", 2, 0), counts("spleen", 1, 1)]);
        assert_eq!(bank.label("liver").unwrap().unwrap().name, "Liver");
        assert_eq!(home.packs(), 1);
    }
}

#[test]
fn an_ingestion_is_all_or_nothing() {
    let home = Home::new();
    let bank = home.bank();
    let mut dropped = bank.ingest("seg", "1.1", Vec::new()).unwrap();
    dropped.push(slice("1", 1, &["liver"], &[])).unwrap();
    assert_eq!(home.packs(), 1);
    drop(dropped);
    assert_eq!(home.packs(), 0);
    assert_eq!(bank.metrics().slices, 0);
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let home = Home::new();
    let bank = home.bank_with(|options| options.max_slices = 2);
    let good = || slice("1", 1, &["liver"], &[]);
    let refused = [
        NewSlice { vector: vec![1.0; DIM + 1], ..good() },
        NewSlice { vector: vec![0.0; DIM], ..good() },
        NewSlice { vector: vec![f32::NAN; DIM], ..good() },
        NewSlice { present: Vec::new(), ..good() },
        NewSlice { absent: vec![absence("liver")], empty: Some(memory(0.0)), ..good() },
        NewSlice { absent: vec![absence("spleen")], ..good() },
        NewSlice { empty: Some(Array3::zeros([1, 3, 3]).into()), ..good() },
    ];
    for slice in refused {
        let error = ingest(&bank, "seg", vec![slice], &[]).unwrap_err();
        assert!(matches!(error, Error::RefuseSlice { .. }), "{error}");
    }
    ingest(&bank, "a", vec![good(), slice("1", 2, &["liver"], &[])], &[]).unwrap();
    let error = ingest(&bank, "b", vec![slice("2", 1, &["liver"], &[])], &[]).unwrap_err();
    assert!(matches!(error, Error::Full { limit: 2 }), "{error}");
    ingest(&bank, "a", vec![good()], &[]).unwrap();
    assert_eq!(bank.metrics().slices, 1);
    assert_eq!(home.packs(), 1);
    let query = |vector: &[f32]| bank.search(&Query { vector, k: 1, filter: of("liver") });
    assert!(matches!(query(&[1.0]).unwrap_err(), Error::RefuseQuery { .. }));
    assert!(matches!(query(&[0.0; DIM]).unwrap_err(), Error::RefuseQuery { .. }));
    assert!("17".parse::<ExemplarId>().is_err());
}

#[test]
fn a_later_annotation_takes_the_place_of_an_earlier_one() {
    let home = Home::new();
    let bank = home.bank();
    let both = vec![slice("1", 1, &["liver", "spleen"], &[]), slice("1", 2, &["liver"], &[])];
    ingest(&bank, "first", both, &[]).unwrap();
    let superseded = |label_key: Option<&str>| Superseded {
        seg_sop_instance_uid: "first".into(),
        series_instance_uid: "1.1".into(),
        label_key: label_key.map(str::to_owned),
    };
    ingest(&bank, "second", vec![slice("1", 3, &["liver"], &[])], &[superseded(Some("liver"))]).unwrap();
    assert_eq!(found(&bank, 1, of("liver")), [("1".into(), 3)]);
    assert_eq!(found(&bank, 1, of("spleen")), [("1".into(), 1)]);
    ingest(&bank, "third", vec![slice("1", 4, &["spleen"], &[])], &[superseded(None)]).unwrap();
    drop(bank);
    let bank = home.bank();
    assert_eq!(found(&bank, 1, of("spleen")), [("1".into(), 4)]);
    assert_eq!(home.packs(), 2);
}

#[test]
fn a_seg_of_two_series_teaches_of_each_by_itself() {
    let home = Home::new();
    let bank = home.bank();
    for study in ["1", "2"] {
        ingest(&bank, "both", vec![slice(study, 1, &["liver"], &[])], &[]).unwrap();
    }
    assert_eq!(found(&bank, 1, of("liver")).len(), 2);
    let mixed = vec![slice("1", 1, &["liver"], &[]), slice("2", 1, &["liver"], &[])];
    assert!(matches!(ingest(&bank, "both", mixed, &[]).unwrap_err(), Error::RefuseSlice { .. }));
    let earlier = Superseded {
        seg_sop_instance_uid: "both".into(),
        series_instance_uid: "1.1".into(),
        label_key: None,
    };
    ingest(&bank, "later", vec![slice("1", 2, &["liver"], &[])], &[earlier]).unwrap();
    let hits: BTreeSet<_> = found(&bank, 1, of("liver")).into_iter().collect();
    assert_eq!(hits, [("1".into(), 2), ("2".into(), 1)].into());
    assert_eq!(bank.remove_by_seg("both", "1.1").unwrap(), 0);
    assert_eq!(bank.remove_by_seg("both", "2.1").unwrap(), 1);
}

#[test]
fn removal_by_whatever_is_deleted() {
    let home = Home::new();
    let bank = home.bank();
    for study in ["1", "2", "3", "4"] {
        let slices = (1..4).map(|number| slice(study, number, &["liver"], &[])).collect();
        ingest(&bank, &format!("seg {study}"), slices, &[]).unwrap();
    }
    assert_eq!(bank.remove_by_study("1").unwrap(), 3);
    assert_eq!(bank.remove_by_seg("seg 2", "2.1").unwrap(), 3);
    assert_eq!(bank.remove_by_series("3.1").unwrap(), 3);
    assert_eq!(bank.remove_by_instance("4.1.2").unwrap(), 1);
    assert_eq!(bank.remove_by_instance("4.1.2").unwrap(), 0);
    assert_eq!(bank.remove_by_study("unknown").unwrap(), 0);
    assert_eq!(home.packs(), 1);
    drop(bank);
    let bank = home.bank();
    assert_eq!(found(&bank, 3, of("liver")), [("4".into(), 3), ("4".into(), 1)]);
    let ids: BTreeSet<_> =
        bank.slices(&ListFilter::default(), None, 10).unwrap().iter().map(|s| s.id).collect();
    ingest(&bank, "seg 5", vec![slice("5", 1, &["liver"], &[])], &[]).unwrap();
    let new = bank.slices(&ListFilter::default(), ids.last().copied(), 10).unwrap();
    assert_eq!(new.len(), 1, "identities are not used again");
    bank.clear().unwrap();
    assert_eq!(bank.metrics(), BankMetrics { exact_searches: 1, ..BankMetrics::default() });
    assert_eq!(home.packs(), 0);
    ingest(&bank, "seg 1", vec![slice("1", 1, &["liver"], &[])], &[]).unwrap();
    assert_eq!(found(&bank, 3, of("liver")).len(), 1);
}

#[test]
fn filters_hold() {
    let home = Home::new();
    let bank = home.bank();
    for study in ["1", "2", "3"] {
        let mut slices = vec![slice(study, 1, &["liver"], &[]), slice(study, 2, &[], &["liver"])];
        slices[0].image.modality = if study == "3" { "CT".into() } else { "MR".into() };
        slices[1].collection = "other".into();
        ingest(&bank, study, slices, &[]).unwrap();
    }
    let one = ["1".to_owned()];
    let series = ["2.1".to_owned()];
    let patients = ["patient of 3".to_owned(), "nobody".to_owned()];
    let count = |filter| found(&bank, 1, filter).len();
    assert_eq!(count(of("liver")), 6);
    assert_eq!(count(of("spleen")), 0);
    assert_eq!(count(Filter { present: Some(true), ..of("liver") }), 3);
    assert_eq!(count(Filter { modality: Some("CT"), ..of("liver") }), 1);
    assert_eq!(count(Filter { modality: Some("US"), ..of("liver") }), 0);
    assert_eq!(count(Filter { collection: Some("other"), ..of("liver") }), 3);
    assert_eq!(count(Filter { studies: &one, ..of("liver") }), 2);
    assert_eq!(count(Filter { studies: &patients, ..of("liver") }), 0);
    assert_eq!(count(Filter { excluded_studies: &one, ..of("liver") }), 4);
    assert_eq!(count(Filter { excluded_series: &series, ..of("liver") }), 4);
    assert_eq!(count(Filter { excluded_patients: &patients, ..of("liver") }), 4);
    let listed = |filter: ListFilter<'_>| bank.slices(&filter, None, 10).unwrap().len();
    assert_eq!(listed(ListFilter { collection: Some("other"), ..ListFilter::default() }), 3);
    assert_eq!(listed(ListFilter { label_key: Some("liver"), ..ListFilter::default() }), 6);
    assert_eq!(listed(ListFilter { seg_sop_instance_uid: Some("2"), ..ListFilter::default() }), 2);
    assert_eq!(listed(ListFilter { study_instance_uid: Some("no"), ..ListFilter::default() }), 0);
    let first = bank.slices(&ListFilter::default(), None, 4).unwrap();
    let rest = bank.slices(&ListFilter::default(), Some(first[3].id), 4).unwrap();
    assert_eq!((first.len(), rest.len()), (4, 2));
}

#[test]
fn slices_of_another_bundle_wait() {
    let home = Home::new();
    for study in ["1", "2"] {
        ingest(&home.bank(), "seg", vec![slice(study, 1, &["liver"], &[])], &[]).unwrap();
    }
    let other = home.bank_with(|options| {
        options.bundle_id = "other@1+0".into();
        options.embedding_dim = 4;
    });
    assert!(other.search(&Query { vector: &[1.0; 4], k: 1, filter: of("liver") }).unwrap().is_empty());
    assert_eq!((other.metrics().slices, other.metrics().other_bundles), (0, 2));
    assert!(other.labels().is_empty());
    assert_eq!(other.remove_by_study("1").unwrap(), 1);
    drop(other);
    assert_eq!(found(&home.bank(), 1, of("liver")), [("2".into(), 1)]);
}

#[test]
fn a_damaged_memory_is_reported_and_answers_no_search() {
    let home = Home::new();
    ingest(&home.bank(), "seg", vec![slice("1", 1, &["liver"], &[]), slice("1", 2, &["liver"], &[])], &[])
        .unwrap();
    let folder = home.folder.path().join("features");
    let path = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let bank = home.bank();
    let hits = bank.search(&Query { vector: &vector(2), k: 2, filter: of("liver") }).unwrap();
    for _ in 0..2 {
        let error = bank.memory_of(&hits[0].exemplar, View::Whole).unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{error}");
    }
    assert_eq!(*bank.memory_of(&hits[1].exemplar, View::Whole).unwrap(), memory(1.0));
    assert_eq!(bank.metrics().broken, 1);
    assert_eq!(found(&bank, 2, of("liver")), [("1".into(), 1)]);
}

#[test]
fn a_damaged_record_is_left_out() {
    let home = Home::new();
    ingest(&home.bank(), "seg", vec![slice("1", 1, &["liver"], &[]), slice("1", 2, &["liver"], &[])], &[])
        .unwrap();
    let tree = home.db.open_tree("memory").unwrap();
    let (key, _) = tree.scan_prefix(b"s").next().unwrap().unwrap();
    tree.insert(key, b"{").unwrap();
    assert_eq!(found(&home.bank(), 1, of("liver")), [("1".into(), 2)]);
}

/// Many slices in a few clusters, with two labels and of many studies, taken in at once.
fn fill(bank: &Bank, seg: &str, count: u32, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let series = format!("series of {seg}");
    let mut ingest = bank.ingest(seg, &series, Vec::new()).unwrap();
    for number in 0..count {
        let key = ["liver", "spleen"][number as usize % 2];
        let vector =
            (0..DIM).map(|axis| f32::from(axis == number as usize % DIM) + random.random_range(-0.5..0.5));
        let slice = slice(&(number % 50).to_string(), number, &[key], &[]);
        let image = ImageIdentity { series_instance_uid: series.clone(), ..slice.image };
        ingest.push(NewSlice { image, vector: vector.collect(), ..slice }).unwrap();
    }
    ingest.commit(&[]).unwrap();
    bank.wait_for_index();
}

fn walking(options: &mut BankOptions) {
    options.exact_below = 50;
    options.index_threads = 2;
}

/// Share of the hits of `bank` that `exact`, over the same tree, also has; and how often the graph answered.
fn recall(home: &Home, bank: &Bank) -> (f64, u64) {
    let mut random = StdRng::seed_from_u64(99);
    let before = bank.metrics().graph_searches;
    let excluded = ["7".to_owned(), "8".to_owned()];
    let queries: Vec<Vec<f32>> =
        (0..100).map(|_| (0..DIM).map(|_| random.random_range(-1.0..1.0)).collect()).collect();
    let ask = |bank: &Bank| -> Vec<BTreeSet<ExemplarId>> {
        let filter = Filter { excluded_studies: &excluded, ..of("liver") };
        let hits = |vector| bank.search(&Query { vector, k: 8, filter: filter.clone() }).unwrap();
        queries.iter().map(|vector| hits(vector).into_iter().map(|hit| hit.exemplar.id).collect()).collect()
    };
    let answered = ask(bank);
    let graph_searches = bank.metrics().graph_searches - before;
    let scanning = home.bank_with(|options| options.exact_below = usize::MAX);
    let expected = ask(&scanning);
    assert_eq!(scanning.metrics().graph_searches, 0);
    let common: usize = answered.iter().zip(&expected).map(|(a, b)| a.intersection(b).count()).sum();
    (common as f64 / expected.iter().map(BTreeSet::len).sum::<usize>() as f64, graph_searches)
}

#[test]
fn the_graph_finds_what_the_scan_finds() {
    let home = Home::new();
    let bank = home.bank_with(walking);
    fill(&bank, "seg", 5_400, 1);
    assert_eq!((bank.metrics().graph_points, bank.metrics().tail), (5_400, 0));
    let (share, searches) = recall(&home, &bank);
    assert!(share >= 0.99 && searches > 50, "{share} by {searches} searches");
    for study in 0..9 {
        bank.remove_by_study(&study.to_string()).unwrap();
    }
    fill(&bank, "more", 300, 2);
    let metrics = bank.metrics();
    assert_eq!((metrics.tombstones, metrics.tail, metrics.graphs_built), (972, 300, 1));
    let (share, searches) = recall(&home, &bank);
    assert!(share >= 0.99 && searches > 50, "{share} by {searches} searches");
    drop(bank);
    let bank = home.bank_with(walking);
    let metrics = bank.metrics();
    assert_eq!((metrics.tombstones, metrics.tail, metrics.graphs_built), (972, 300, 0), "loaded from disk");
    let (share, searches) = recall(&home, &bank);
    assert!(share >= 0.99 && searches > 50, "{share} by {searches} searches");
    fill(&bank, "much more", 2_000, 3);
    let metrics = bank.metrics();
    assert_eq!(
        (metrics.graph_points, metrics.tombstones, metrics.tail, metrics.graphs_built),
        (6_728, 0, 0, 1)
    );
}

/// Index folders and whether `CURRENT` names one of them.
fn versions(root: &Path) -> (usize, bool) {
    let folder = root.join("index");
    let names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let current = fs::read_to_string(folder.join("CURRENT")).unwrap_or_default();
    (names.iter().filter(|name| name.starts_with("index-")).count(), names.contains(&current))
}

#[test]
fn a_damaged_index_is_built_anew() {
    let home = Home::new();
    let bank = home.bank_with(walking);
    fill(&bank, "seg", 500, 1);
    drop(bank);
    let damages: [&dyn Fn(&Path); 4] = [
        &|index| {
            let path = index.join("graph.hnsw.data");
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(bytes.len() / 2);
            fs::write(path, bytes).unwrap();
        },
        &|index| fs::write(index.join("manifest.json"), b"{}").unwrap(),
        &|index| fs::remove_dir_all(index).unwrap(),
        &|index| fs::write(index.parent().unwrap().join("CURRENT"), b"../elsewhere").unwrap(),
    ];
    for damage in damages {
        let index = home.folder.path().join("index");
        damage(&index.join(fs::read_to_string(index.join("CURRENT")).unwrap()));
        let bank = home.bank_with(walking);
        bank.wait_for_index();
        assert_eq!((bank.metrics().graphs_built, bank.metrics().graph_points), (1, 500));
        drop(bank);
        assert_eq!(versions(home.folder.path()), (1, true));
        let bank = home.bank_with(walking);
        assert_eq!((bank.metrics().graphs_built, bank.metrics().graph_points), (0, 500));
    }
}

#[test]
fn an_index_of_another_generation_does_not_serve() {
    let home = Home::new();
    let bank = home.bank_with(walking);
    fill(&bank, "seg", 500, 1);
    let index = home.folder.path().join("index");
    let kept = home.folder.path().join("kept");
    fs::rename(&index, &kept).unwrap();
    fs::create_dir(&index).unwrap();
    bank.clear().unwrap();
    fill(&bank, "seg", 500, 2);
    drop(bank);
    fs::remove_dir_all(&index).unwrap();
    fs::rename(&kept, &index).unwrap();
    let bank = home.bank_with(walking);
    bank.wait_for_index();
    assert_eq!(bank.metrics().graphs_built, 1);
}

#[test]
fn a_graph_that_misses_neighbours_is_not_asked() {
    let count = 2000;
    let mut random = StdRng::seed_from_u64(4);
    let ids: Vec<u64> = (0..count).collect();
    let mut vectors = |dim: usize| -> Vec<f32> {
        let vector =
            |_| top::normalised(&(0..dim).map(|_| random.random_range(-1.0..1.0)).collect::<Vec<_>>());
        (0..count).map(vector).flat_map(Option::unwrap).collect()
    };
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (low, other) = (vectors(3), vectors(3));
    let graph = graph::Graph::build(&ids, &low, 3, &threads, &false.into()).unwrap();
    assert_eq!(audit::least_effort(&graph, &ids, &low, 3), Some(128));
    assert_eq!(audit::least_effort(&graph, &ids, &other, 3), None, "a graph of other vectors");
}
