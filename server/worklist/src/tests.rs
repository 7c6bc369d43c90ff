//! The worklist as a whole: transactions, subscriptions, and that a restart changes nothing.

use super::*;
use dicom_dictionary_std::tags;
use engram_archive::{Include, MatchKey, MatchRules};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

fn open(folder: &Path, options: WorklistOptions) -> Worklist {
    let db = open_db(&folder.join("db"));
    Worklist::open(db.open_tree("worklist").unwrap(), &folder.join("worklist.journal"), options).unwrap()
}

/// sled lets go of its lock when its last thread ends, which may be a little after the last handle is dropped.
fn open_db(folder: &Path) -> sled::Db {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match sled::Config::new().path(folder).open() {
            Err(error) if Instant::now() < deadline && error.to_string().contains("acquire lock") => {
                thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Runs a test over a fresh worklist.
fn with_worklist<T>(options: WorklistOptions, test: impl FnOnce(&Worklist) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    test(&open(folder.path(), options))
}

fn workitem() -> Attributes {
    let workitem = json!({
        "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
        "00741200": {"vr": "CS", "Value": ["MEDIUM"]},
        "00741204": {"vr": "LO", "Value": ["Segment the liver"]},
        "00404005": {"vr": "DT", "Value": ["20240101120000"]},
        "00404041": {"vr": "CS", "Value": ["READY"]},
        "00404018": {"vr": "SQ", "Value": [{
            "00080100": {"vr": "SH", "Value": ["110004"]}, "00080102": {"vr": "SH", "Value": ["DCM"]},
        }]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
    });
    workitem.as_object().unwrap().clone()
}

fn with(mut attributes: Attributes, name: &str, element: Value) -> Attributes {
    attributes.insert(name.to_owned(), element);
    attributes
}

fn changes(json: Value) -> Attributes {
    json.as_object().unwrap().clone()
}

/// What COMPLETED asks for.
fn performed() -> Attributes {
    changes(json!({"00741216": {"vr": "SQ", "Value": [{
        "00404028": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["S1"]}}]},
        "00404019": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["110004"]}}]},
        "00404050": {"vr": "DT", "Value": ["20240101120000"]},
        "00404051": {"vr": "DT", "Value": ["20240101120500"]},
        "00404033": {"vr": "SQ"},
    }]}}))
}

/// What CANCELED asks for.
fn discontinued() -> Attributes {
    changes(json!({"00741002": {"vr": "SQ", "Value": [{
        "0074100E": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["110513"]}}]},
    }]}}))
}

fn ae(title: &str) -> AeTitle {
    AeTitle::parse(title).unwrap()
}

fn state(worklist: &Worklist, uid: &str) -> String {
    text(&worklist.retrieve(uid).unwrap(), tags::PROCEDURE_STEP_STATE).unwrap().to_owned()
}

type Heard = Arc<Mutex<Vec<(String, EventType)>>>;

fn listen(worklist: &Worklist, title: &str) -> (Channel, Heard) {
    let heard = Heard::default();
    let listener = heard.clone();
    let sink: Sink = Box::new(move |report| {
        listener.lock().push((report.uid.clone(), report.event_type));
        true
    });
    (worklist.open_channel(&ae(title), sink).unwrap(), heard)
}

fn types(heard: &Heard) -> Vec<EventType> {
    heard.lock().drain(..).map(|(_, event_type)| event_type).collect()
}

#[test]
fn what_a_new_workitem_lacks_is_told_or_put_in() {
    with_worklist(WorklistOptions::default(), |worklist| {
        let created = worklist.create(Some("1.2.3"), workitem()).unwrap();
        assert_eq!((created.uid.as_str(), created.modified), ("1.2.3", true));
        let kept = worklist.retrieve("1.2.3").unwrap();
        assert_eq!(text(&kept, tags::SOP_INSTANCE_UID), Some("1.2.3"));
        assert_eq!(text(&kept, tags::SOP_CLASS_UID), Some(UPS_PUSH));
        assert!(text(&kept, tags::WORKLIST_LABEL).is_some() && kept.contains_key("00741216"));
        let whole = with(kept, "00080018", json!({"vr": "UI", "Value": ["1.2.4"]}));
        assert!(!worklist.create(None, whole).unwrap().modified);
        let fresh = worklist.create(None, workitem()).unwrap();
        assert!(fresh.uid.starts_with("2.25."));

        assert!(matches!(worklist.create(Some("1.2.3"), workitem()), Err(Error::Exists { .. })));
        let lacking = |name: &str| {
            let mut workitem = workitem();
            workitem.remove(name);
            workitem
        };
        let cs = |value: &str| json!({"vr": "CS", "Value": [value]});
        for wrong in [
            lacking("00741000"),
            lacking("00741200"),
            lacking("00741204"),
            lacking("00404005"),
            lacking("00404041"),
            with(workitem(), "00741000", cs("IN PROGRESS")),
            with(workitem(), "00741200", cs("SOON")),
            with(workitem(), "00404041", cs("PERHAPS")),
            with(workitem(), "00404005", json!({"vr": "DT", "Value": ["today"]})),
            with(workitem(), "00081195", json!({"vr": "UI", "Value": ["1.2"]})),
            with(workitem(), "00080016", json!({"vr": "UI", "Value": ["1.2"]})),
            with(workitem(), "00080018", json!({"vr": "UI", "Value": ["1.9"]})),
            with(workitem(), "00741216", performed()["00741216"].clone()),
            with(workitem(), "00741002", discontinued()["00741002"].clone()),
        ] {
            let outcome = worklist.create(Some("1.2.5"), wrong);
            assert!(matches!(outcome, Err(Error::Invalid { .. })), "{outcome:?}");
        }
        assert!(matches!(worklist.create(Some("1.2/5"), workitem()), Err(Error::Invalid { .. })));
    });
}

#[test]
fn a_workitem_ends_only_with_what_its_final_state_asks_for() {
    with_worklist(WorklistOptions::default(), |worklist| {
        for (wanted, needed) in [(State::Completed, performed()), (State::Canceled, discontinued())] {
            let uid = worklist.create(None, workitem()).unwrap().uid;
            worklist.change_state(&uid, State::InProgress, Some("1.7")).unwrap();
            let early = worklist.change_state(&uid, wanted, Some("1.7"));
            assert!(matches!(early, Err(Error::NotFinal { .. })), "{early:?}");
            worklist.update(&uid, Some("1.7"), needed).unwrap();
            assert_eq!(worklist.change_state(&uid, wanted, Some("1.7")).unwrap(), Change::Done);
            assert_eq!(worklist.change_state(&uid, wanted, Some("1.7")).unwrap(), Change::Already);
            assert_eq!(state(worklist, &uid), wanted.name());
            let kept = worklist.retrieve(&uid).unwrap();
            assert!(!kept.contains_key("00081195"), "the Transaction UID stays here");
            let dated = items(&kept, tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE)
                .any(|item| text(item, tags::PROCEDURE_STEP_CANCELLATION_DATE_TIME).is_some());
            assert_eq!(dated, wanted == State::Canceled);
        }
    });
}

#[test]
fn an_update_changes_what_may_change() {
    with_worklist(WorklistOptions { max_bytes: 8192, ..WorklistOptions::default() }, |worklist| {
        let uid = worklist.create(None, workitem()).unwrap().uid;
        let label = |text: &str| changes(json!({"00741204": {"vr": "LO", "Value": [text]}}));
        worklist.update(&uid, None, label("Spleen")).unwrap();
        assert_eq!(text(&worklist.retrieve(&uid).unwrap(), tags::PROCEDURE_STEP_LABEL), Some("Spleen"));
        for fixed in ["00741000", "00100020", "00080018"] {
            let change = changes(json!({fixed: {"vr": "LO", "Value": ["X"]}}));
            assert!(matches!(worklist.update(&uid, None, change), Err(Error::Invalid { .. })), "{fixed}");
        }
        // What is fixed may come again as it is: clients send back what they retrieved.
        worklist.update(&uid, None, worklist.retrieve(&uid).unwrap()).unwrap();
        let large = label(&"x".repeat(8192));
        assert!(matches!(worklist.update(&uid, None, large), Err(Error::TooLarge { .. })));
        assert!(matches!(worklist.update("1.9", None, label("x")), Err(Error::NoSuchWorkitem { .. })));
    });
}

#[test]
fn subscribers_hear_of_what_they_asked_for() {
    use EventType::{Assigned, CancelRequested, ProgressReport, StateReport};
    with_worklist(WorklistOptions::default(), |worklist| {
        let (_all, all) = listen(worklist, "ALL");
        let (_one, one) = listen(worklist, "ONE");
        let (_some, some) = listen(worklist, "SOME");
        worklist.subscribe(&ae("ALL"), Scope::Worklist, false).unwrap();
        let filter = Filter::new([MatchKey { path: vec![tags::PATIENT_ID], value: "P2".into() }]);
        worklist.subscribe(&ae("SOME"), Scope::Filtered(filter), false).unwrap();

        let uid = worklist.create(None, workitem()).unwrap().uid;
        assert_eq!((types(&all), types(&one), types(&some)), (vec![StateReport], vec![], vec![]));
        worklist.subscribe(&ae("ONE"), Scope::Workitem(uid.clone()), false).unwrap();
        assert_eq!(types(&one), [StateReport], "how things stand");

        worklist.change_state(&uid, State::InProgress, Some("1.7")).unwrap();
        let progress =
            changes(json!({"00741002": {"vr": "SQ", "Value": [{"00741004": {"vr": "DS", "Value": [50]}}]}}));
        worklist.update(&uid, Some("1.7"), progress).unwrap();
        let station =
            json!({"00404025": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["S2"]}}]}});
        worklist.update(&uid, Some("1.7"), changes(station)).unwrap();
        worklist.request_cancellation(&uid, CancelRequest::default()).unwrap();
        for heard in [&all, &one] {
            assert_eq!(types(heard), [StateReport, ProgressReport, Assigned, CancelRequested]);
        }

        let other = with(workitem(), "00100020", json!({"vr": "LO", "Value": ["P2"]}));
        worklist.create(None, other.clone()).unwrap();
        assert_eq!((types(&all), types(&some)), (vec![StateReport], vec![StateReport]));
        worklist.suspend(&ae("ALL"), false).unwrap();
        worklist.create(None, other).unwrap();
        assert_eq!((types(&all), types(&some)), (vec![], vec![StateReport]), "suspended");
        worklist.unsubscribe(&ae("ONE"), Scope::Workitem(uid.clone())).unwrap();
        worklist.unsubscribe(&ae("ALL"), Scope::Worklist).unwrap();
        let outcome = worklist.request_cancellation(&uid, CancelRequest::default());
        assert!(matches!(outcome, Err(Error::PerformerUnreachable { .. })));
        assert!(matches!(worklist.suspend(&ae("ALL"), false), Err(Error::NotSubscribed { .. })));
    });
}

#[test]
fn a_cancel_request_ends_what_nobody_has_begun() {
    with_worklist(WorklistOptions::default(), |worklist| {
        let (_channel, heard) = listen(worklist, "ALL");
        worklist.subscribe(&ae("ALL"), Scope::Worklist, false).unwrap();
        let uid = worklist.create(None, workitem()).unwrap().uid;
        let request = CancelRequest { reason: Some("not needed".into()), ..CancelRequest::default() };
        assert_eq!(worklist.request_cancellation(&uid, request.clone()).unwrap(), Change::Done);
        assert_eq!(types(&heard), [EventType::StateReport; 3], "SCHEDULED, IN PROGRESS, CANCELED");
        assert_eq!(worklist.request_cancellation(&uid, request).unwrap(), Change::Already);
        let kept = worklist.retrieve(&uid).unwrap();
        let item = items(&kept, tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE).next().unwrap();
        assert_eq!(text(item, tags::REASON_FOR_CANCELLATION), Some("not needed"));
    });
}

/// Takes workitems of patient P1, and refuses those of P3.
struct OfP1;

impl Performer for OfP1 {
    fn takes(&self, attributes: &Attributes) -> Result<bool, String> {
        match text(attributes, tags::PATIENT_ID) {
            Some("P1") => Ok(true),
            Some("P3") => Err("there is no P3".into()),
            _ => Ok(false),
        }
    }

    fn wake(&self) {}
}

#[test]
fn the_performer_of_this_process_does_what_it_takes() {
    let performer: Arc<dyn Performer> = Arc::new(OfP1);
    with_worklist(WorklistOptions::default(), |worklist| {
        let early = worklist.create(None, workitem()).unwrap().uid;
        worklist.perform_by(Arc::downgrade(&performer)).unwrap();
        let uid = worklist.create(None, workitem()).unwrap().uid;
        let of = |patient: &str| with(workitem(), "00100020", json!({"vr": "LO", "Value": [patient]}));
        worklist.create(None, of("P2")).unwrap();
        assert!(matches!(worklist.create(None, of("P3")), Err(Error::NotPerformable { .. })));
        let asked: Vec<String> = worklist.asked().unwrap().into_iter().map(|asked| asked.uid).collect();
        assert_eq!(asked, [early, uid.clone()]);

        assert!(worklist.begin(&uid).unwrap() && !worklist.begin(&uid).unwrap());
        assert_eq!(worklist.mine().unwrap().len(), 1);
        let stolen = worklist.update(&uid, Some("1.7"), performed());
        assert!(matches!(stolen, Err(Error::TransactionWrong { .. })));
        worklist.progress(&uid, 40, "retrieval").unwrap();
        worklist.request_cancellation(&uid, CancelRequest::default()).unwrap();
        assert_eq!(worklist.to_cancel().unwrap()[0].uid, uid);
        let done = performed()["00741216"]["Value"][0].as_object().unwrap().clone();
        worklist.complete(&uid, done).unwrap();
        assert_eq!((state(worklist, &uid).as_str(), worklist.mine().unwrap().len()), ("COMPLETED", 0));

        worklist.show("1.5", of("P2")).unwrap();
        worklist.show("1.5", of("P2")).unwrap();
        let claimed = worklist.change_state("1.5", State::InProgress, Some("1.7"));
        assert!(matches!(claimed, Err(Error::PerformedHere { .. })));
    });
}

#[test]
fn what_ended_is_kept_as_configured_and_while_it_is_locked() {
    let options = WorklistOptions { keep_final: 2, ..WorklistOptions::default() };
    with_worklist(options, |worklist| {
        let uids: Vec<String> = (0..5).map(|n| format!("1.{n}")).collect();
        for uid in &uids {
            worklist.create(Some(uid), workitem()).unwrap();
        }
        assert!(worklist.subscribe(&ae("LOCKER"), Scope::Workitem("1.0".into()), true).unwrap());
        for uid in &uids {
            worklist.discontinue(uid, Discontinuation::default()).unwrap();
        }
        let kept = |worklist: &Worklist| -> Vec<bool> {
            uids.iter().map(|uid| worklist.retrieve(uid).is_ok()).collect()
        };
        assert_eq!(kept(worklist), [true, false, false, true, true]);
        assert!(matches!(worklist.retrieve("1.1"), Err(Error::Gone { .. })));
        assert!(matches!(worklist.create(Some("1.2"), workitem()), Err(Error::Exists { .. })));
        worklist.unsubscribe(&ae("LOCKER"), Scope::Workitem("1.0".into())).unwrap();
        assert_eq!(kept(worklist), [false, false, false, true, true]);

        assert!(worklist.subscribe(&ae("LOCKER"), Scope::Worklist, true).unwrap());
        assert!(
            !worklist.subscribe(&ae("SECOND"), Scope::Worklist, true).unwrap(),
            "as many are locked as may be"
        );
    });
}

#[test]
fn searches_match_and_page() {
    with_worklist(WorklistOptions::default(), |worklist| {
        for number in 0..4 {
            let patient = json!({"vr": "LO", "Value": [format!("P{number}")]});
            worklist.create(Some(&format!("1.{number}")), with(workitem(), "00100020", patient)).unwrap();
        }
        let find = |matches: &[(&[dicom_core::Tag], &str)], limit, offset| {
            let matches =
                matches.iter().map(|(path, value)| MatchKey { path: path.to_vec(), value: (*value).into() });
            let include = Include::Attributes(vec![]);
            let query = WorkitemQuery {
                matches: matches.collect(),
                rules: MatchRules::default(),
                include,
                limit,
                offset,
            };
            let found = worklist.search(&query).unwrap();
            let uids =
                found.items.iter().filter_map(|item| text(item, tags::SOP_INSTANCE_UID)).map(str::to_owned);
            (uids.collect::<Vec<_>>(), found.total, found.has_more(offset))
        };
        let code: &[_] = &[tags::SCHEDULED_WORKITEM_CODE_SEQUENCE, tags::CODE_VALUE];
        let start: &[_] = &[tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME];
        let uids = |numbers: &[u8]| numbers.iter().map(|number| format!("1.{number}")).collect::<Vec<_>>();
        assert_eq!(find(&[(code, "110004")], 2, 1), (uids(&[1, 2]), 4, true));
        assert_eq!(find(&[(code, "110005")], 9, 0), (vec![], 0, false));
        assert_eq!(
            find(&[(start, "20240101-20240102"), (&[tags::PATIENT_ID], "P3")], 9, 0),
            (uids(&[3]), 1, false)
        );
        assert_eq!(find(&[(start, "20240102-")], 9, 0).1, 0);
    });
}

#[test]
fn who_was_subscribed_is_told_of_a_restart_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let worklist = open(folder.path(), WorklistOptions::default());
    worklist.subscribe(&ae("ALL"), Scope::Worklist, false).unwrap();
    let (channel, heard) = listen(&worklist, "ALL");
    worklist.close();
    assert_eq!(types(&heard), [EventType::StatusChange]);
    drop((channel, worklist));
    let worklist = open(folder.path(), WorklistOptions::default());
    for expected in [vec![EventType::StatusChange], vec![]] {
        assert_eq!(types(&listen(&worklist, "ALL").1), expected);
    }
}

#[test]
fn limits_hold() {
    let options =
        WorklistOptions { max_open: 1, max_subscribers: 1, max_channels: 1, ..WorklistOptions::default() };
    with_worklist(options, |worklist| {
        let uid = worklist.create(None, workitem()).unwrap().uid;
        assert!(matches!(worklist.create(None, workitem()), Err(Error::Full { .. })));
        for scope in [Scope::Worklist, Scope::Workitem(uid)] {
            worklist.subscribe(&ae("ONE"), scope.clone(), false).unwrap();
            worklist.subscribe(&ae("ONE"), scope.clone(), false).unwrap();
            assert!(matches!(worklist.subscribe(&ae("TWO"), scope, false), Err(Error::Full { .. })));
        }
        let (channel, _) = listen(worklist, "ONE");
        assert!(worklist.open_channel(&ae("ONE"), Box::new(|_| true)).is_err());
        drop(channel);
        let slow = worklist.open_channel(&ae("ONE"), Box::new(|_| false)).unwrap();
        worklist.discontinue(&worklist_uid(worklist), Discontinuation::default()).unwrap();
        let _again = worklist.open_channel(&ae("ONE"), Box::new(|_| true)).unwrap();
        drop(slow);
    });
}

fn worklist_uid(worklist: &Worklist) -> String {
    let query = WorkitemQuery {
        matches: vec![],
        rules: MatchRules::default(),
        include: Include::All,
        limit: 1,
        offset: 0,
    };
    let found = worklist.search(&query).unwrap();
    text(&found.items[0], tags::SOP_INSTANCE_UID).unwrap().to_owned()
}

/// Something that is done to a worklist of a few workitems by two performers.
#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Change(u8, State, Option<u8>),
    Update(u8, Option<u8>, bool),
    AskToCancel(u8),
    Subscribe(u8, bool, bool),
    Unsubscribe(u8, bool),
    Suspend(bool),
    Begin(u8),
    Complete(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let uid = 0..4u8;
    let transaction = proptest::option::of(0..2u8);
    let wanted = prop::sample::select(State::ALL.to_vec());
    let step = prop_oneof![
        3 => uid.clone().prop_map(Step::Create),
        6 => (uid.clone(), wanted, transaction.clone()).prop_map(|(uid, state, lock)| Step::Change(uid, state, lock)),
        4 => (uid.clone(), transaction, any::<bool>()).prop_map(|(uid, lock, end)| Step::Update(uid, lock, end)),
        1 => uid.clone().prop_map(Step::AskToCancel),
        2 => (uid.clone(), any::<bool>(), any::<bool>()).prop_map(|(uid, all, lock)| Step::Subscribe(uid, all, lock)),
        1 => (uid.clone(), any::<bool>()).prop_map(|(uid, all)| Step::Unsubscribe(uid, all)),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => uid.clone().prop_map(Step::Begin),
        1 => uid.prop_map(Step::Complete),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

fn take(worklist: &Worklist, step: &Step) -> Result<()> {
    let named = |uid: &u8| format!("1.{uid}");
    let locked = |lock: &Option<u8>| lock.map(|lock| format!("2.{lock}"));
    let scope = |uid: &u8, all: &bool| if *all { Scope::Worklist } else { Scope::Workitem(named(uid)) };
    match step {
        Step::Create(uid) => worklist.create(Some(&named(uid)), workitem()).map(drop),
        Step::Change(uid, wanted, lock) => {
            worklist.change_state(&named(uid), *wanted, locked(lock).as_deref()).map(drop)
        }
        Step::Update(uid, lock, end) => {
            let change = if *end { performed() } else { discontinued() };
            worklist.update(&named(uid), locked(lock).as_deref(), change)
        }
        Step::AskToCancel(uid) => {
            worklist.request_cancellation(&named(uid), CancelRequest::default()).map(drop)
        }
        Step::Subscribe(uid, all, lock) => worklist.subscribe(&ae("A"), scope(uid, all), *lock).map(drop),
        Step::Unsubscribe(uid, all) => worklist.unsubscribe(&ae("A"), scope(uid, all)),
        Step::Suspend(filtered) => worklist.suspend(&ae("A"), *filtered),
        Step::Begin(uid) => worklist.begin(&named(uid)).map(drop),
        Step::Complete(uid) => {
            let done = performed()["00741216"]["Value"][0].as_object().cloned().unwrap_or_default();
            worklist.complete(&named(uid), done)
        }
        Step::Reopen => Ok(()),
    }
}

/// Every workitem there is, and the state it is in.
fn all(worklist: &Worklist) -> BTreeMap<String, (State, Attributes)> {
    let all = (0..4u8).filter_map(|uid| {
        let uid = format!("1.{uid}");
        let attributes = worklist.retrieve(&uid).ok()?;
        let state = State::named(text(&attributes, tags::PROCEDURE_STEP_STATE)?)?;
        Some((uid, (state, attributes)))
    });
    all.collect()
}

/// The states that a step may lead to.
fn may_follow(before: Option<State>, after: State) -> bool {
    match (before, after) {
        (None, after) => after == State::Scheduled,
        (Some(before), after) if before == after => true,
        (Some(State::Scheduled), after) => matches!(after, State::InProgress | State::Canceled),
        (Some(State::InProgress), after) => after.is_final(),
        (Some(State::Completed | State::Canceled), _) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_sequence_of_steps_breaks_the_rules_and_a_restart_changes_nothing(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut worklist = Some(open(folder.path(), WorklistOptions { keep_final: 3, ..WorklistOptions::default() }));
        let mut before = BTreeMap::new();
        for step in steps {
            if matches!(step, Step::Reopen) {
                drop(worklist.take());
                worklist = Some(open(folder.path(), WorklistOptions { keep_final: 3, ..WorklistOptions::default() }));
                prop_assert_eq!(&all(worklist.as_ref().unwrap()), &before);
                continue;
            }
            let worklist = worklist.as_ref().unwrap();
            let outcome = take(worklist, &step);
            let after = all(worklist);
            if outcome.is_err() {
                prop_assert_eq!(&after, &before, "{:?} failed and changed something", step);
            }
            for (uid, (state, attributes)) in &after {
                let was = before.get(uid).map(|(state, _): &(State, Attributes)| *state);
                prop_assert!(may_follow(was, *state), "{step:?}: {was:?} to {state}");
                prop_assert!(!attributes.contains_key("00081195"));
                prop_assert!(final_state::missing(attributes, *state).is_empty() || !state.is_final());
            }
            before = after;
        }
    }
}

#[test]
fn a_performer_that_is_gone_takes_nothing() {
    with_worklist(WorklistOptions::default(), |worklist| {
        worklist.perform_by(Weak::<OfP1>::new()).unwrap();
        worklist.create(None, workitem()).unwrap();
        assert!(worklist.asked().unwrap().is_empty());
    });
}
