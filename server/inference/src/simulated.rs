//! Engines over simulated devices, which fail, panic and wait as a test wants them to.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use ndarray::{Array2, Array4};
use parking_lot::Mutex;
use proptest::prelude::*;

use crate::request::{Answer, Failure, Tensor};
use crate::turn::Turn;
use crate::worker::{Compute, Load};
use crate::{Bundle, Device, Engine, EngineOptions, Error, Graph, Result};

/// Longer than anything here takes unless it would never happen.
const LONG: Duration = Duration::from_secs(60);

/// What a device does with a computation of so many rows before it answers.
type Conduct = Box<dyn FnMut(usize) -> Result<(), Failure> + Send>;

/// A device that knows the retrieval graph alone: each row's vector repeats the row's first number.
struct Simulated {
    conduct: Conduct,
    dimension: usize,
}

impl Compute for Simulated {
    fn run(&mut self, graph: Graph, inputs: &[Tensor<'_>], rows: usize) -> Result<Answer, Failure> {
        assert_eq!(graph, Graph::Retrieval);
        let [Tensor::F32(images)] = inputs else { panic!("one image tensor") };
        assert_eq!(images.shape()[0], rows);
        (self.conduct)(rows)?;
        let cls = Array2::from_shape_fn((rows, self.dimension), |(row, _)| images[[row, 0, 0, 0]]);
        Ok(vec![Some(cls.into_dyn()), None])
    }
}

fn engine(max_batch: usize, devices: Vec<Conduct>) -> Engine {
    let bundle = Bundle::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/compact")).unwrap();
    let dimension = bundle.spec().retrieval.embedding_dim;
    let load = |conduct| {
        let load = move |_: &Turn| Ok(Box::new(Simulated { conduct, dimension }) as Box<dyn Compute>);
        (Device::Cpu, Box::new(load) as Load)
    };
    let options = EngineOptions { max_batch, ..EngineOptions::default() };
    Engine::assemble(bundle, &options, devices.into_iter().map(load).collect()).unwrap()
}

/// Calls with rows of these numbers; the numbers that come back.
fn ask(engine: &Engine, numbers: &[f32]) -> Result<Vec<f32>> {
    let side = engine.spec().retrieval.image_size;
    let images = Array4::from_shape_fn((numbers.len(), 3, side, side), |(row, ..)| numbers[row]);
    let retrieval = engine.retrieval(images)?;
    assert!(retrieval.patches.is_none());
    Ok(retrieval.cls.column(0).to_vec())
}

/// So many callers at a time, `calls` calls each, every call with numbers of its own.
fn ask_from_many(engine: &Engine, callers: usize, calls: usize) {
    thread::scope(|scope| {
        for caller in 0..callers {
            scope.spawn(move || {
                for call in 0..calls {
                    let number = (caller * calls + call) as f32;
                    assert_eq!(ask(engine, &[number]).unwrap(), [number]);
                }
            });
        }
    });
}

fn willing() -> Conduct {
    Box::new(|_| Ok(()))
}

fn failing() -> Conduct {
    Box::new(|_| Err(Failure::Device("CUDA failure 700".to_owned())))
}

fn retired(engine: &Engine) -> Vec<Option<String>> {
    engine.metrics().devices.into_iter().map(|device| device.retired).collect()
}

#[test]
fn one_call_is_spread_over_both_devices_at_the_same_time() {
    // A device goes on only while the other computes, too.
    let (here, there) = bounded::<()>(0);
    let alone = |_| Failure::Call("computed while the other device did not".to_owned());
    let first: Conduct = Box::new(move |_| here.send_timeout((), LONG).map_err(|_| alone(())));
    let second: Conduct = Box::new(move |_| there.recv_timeout(LONG).map_err(|_| alone(())));
    let engine = engine(1, vec![first, second]);
    let numbers = [3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0, 5.0];
    assert_eq!(ask(&engine, &numbers).unwrap(), numbers);
    let metrics = engine.metrics();
    assert_eq!(metrics.devices.iter().map(|device| device.batches).collect::<Vec<_>>(), [4, 4]);
    assert_eq!((metrics.graphs[0].requests, metrics.graphs[0].batches, metrics.graphs[0].rows), (1, 8, 8));
}

/// Callers are served while the first device does as `conduct` says, which ends its service. The other device waits
/// until it has ended. Why it has ended.
fn drained(mut conduct: Conduct) -> String {
    let (alive, ended) = bounded::<()>(0);
    let first: Conduct = Box::new(move |rows| {
        // Lives as long as the device serves.
        let _alive = &alive;
        conduct(rows)
    });
    let second: Conduct = Box::new(move |_| match ended.recv_timeout(LONG) {
        Err(RecvTimeoutError::Disconnected) => Ok(()),
        _ => Err(Failure::Call("the other device goes on serving".to_owned())),
    });
    let engine = engine(1, vec![first, second]);
    ask_from_many(&engine, 8, 4);
    assert_eq!(engine.metrics().graphs[0].requests, 32);
    assert_eq!(engine.device(), "cpu");
    let [first, second]: [_; 2] = retired(&engine).try_into().unwrap();
    assert_eq!(second, None);
    first.unwrap()
}

#[test]
fn a_failing_device_drains_to_the_other() {
    assert_eq!(drained(failing()), "cpu failed 3 times in a row: CUDA failure 700");
}

#[test]
fn a_panicking_device_drains_to_the_other() {
    assert_eq!(drained(Box::new(|_| panic!("simulated"))), "cpu broke down: simulated");
}

#[test]
fn a_failure_now_and_then_is_made_good_by_the_other_device() {
    let mut calls = 0;
    let moody: Conduct = Box::new(move |_| {
        calls += 1;
        if calls % 3 == 0 { Ok(()) } else { Err(Failure::Device("out of memory".to_owned())) }
    });
    let engine = engine(4, vec![moody, willing()]);
    ask_from_many(&engine, 6, 10);
    assert_eq!(retired(&engine), [None, None]);
    assert_eq!(engine.device(), "cpu,cpu");
}

#[test]
fn a_call_that_every_device_fails_at_tells_the_last_failure_and_the_last_device_goes_on() {
    let engine = engine(1, vec![failing(), failing()]);
    for _ in 0..8 {
        let error = ask(&engine, &[1.0]).unwrap_err();
        assert!(matches!(&error, Error::Compute { message, .. } if message == "CUDA failure 700"), "{error}");
    }
    assert_eq!(retired(&engine).iter().flatten().count(), 1);
    assert!(engine.metrics().devices.iter().all(|device| device.failures >= 3));
}

#[test]
fn a_single_device_may_recover() {
    let mut calls = 0;
    let late: Conduct = Box::new(move |_| {
        calls += 1;
        if calls > 5 { Ok(()) } else { Err(Failure::Device("out of memory".to_owned())) }
    });
    let engine = engine(1, vec![late]);
    for _ in 0..5 {
        assert!(matches!(ask(&engine, &[1.0]), Err(Error::Compute { .. })));
    }
    assert_eq!(ask(&engine, &[1.0]).unwrap(), [1.0]);
}

#[test]
fn a_wrong_call_is_refused_once_and_held_against_no_device() {
    let refused = Arc::new(Mutex::new(0));
    let refusing = |count: Arc<Mutex<u32>>| -> Conduct {
        Box::new(move |_| {
            *count.lock() += 1;
            Err(Failure::Call("wrong shape".to_owned()))
        })
    };
    let engine = engine(1, vec![refusing(Arc::clone(&refused)), refusing(Arc::clone(&refused))]);
    for _ in 0..10 {
        assert!(matches!(ask(&engine, &[1.0]), Err(Error::Compute { .. })));
    }
    assert_eq!((*refused.lock(), retired(&engine)), (10, vec![None, None]));
}

#[test]
fn without_any_device_callers_are_told_why() {
    let panicking = || -> Conduct { Box::new(|_| panic!("simulated")) };
    let engine = engine(1, vec![panicking(), panicking()]);
    for _ in 0..3 {
        let error = ask(&engine, &[1.0, 2.0]).unwrap_err();
        assert!(matches!(error, Error::DeviceStopped { .. }), "{error}");
        assert!(
            error.to_string().contains("cpu broke down: simulated; cpu broke down: simulated"),
            "{error}"
        );
    }
    assert_eq!(engine.device(), "");
}

#[test]
fn calls_that_wait_for_a_busy_device_share_a_batch() {
    let (busy, go_on) = bounded::<()>(0);
    let batches = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&batches);
    let conduct: Conduct = Box::new(move |rows| {
        noted.lock().push(rows);
        if noted.lock().len() == 1 {
            go_on.recv_timeout(LONG).map_err(|_| Failure::Call("nobody came".to_owned()))?;
        }
        Ok(())
    });
    let engine = engine(4, vec![conduct]);
    thread::scope(|scope| {
        let call = |number: f32| {
            let engine = &engine;
            scope.spawn(move || assert_eq!(ask(engine, &[number]).unwrap(), [number]))
        };
        let first = call(0.0);
        while batches.lock().is_empty() {
            thread::yield_now();
        }
        let others: Vec<_> = (1..=6).map(|number| call(number as f32)).collect();
        while engine.waiting() < 6 {
            thread::yield_now();
        }
        busy.send_timeout((), LONG).unwrap();
        first.join().unwrap();
        others.into_iter().for_each(|call| call.join().unwrap());
    });
    assert_eq!(*batches.lock(), [1, 4, 2]);
}

/// What a device does with its computations, one after the other; afterwards it is willing.
#[derive(Debug, Clone, Copy)]
enum Act {
    Answer,
    Fail,
    Panic,
}

fn scripted(script: Vec<Act>) -> Conduct {
    let mut script = script.into_iter();
    Box::new(move |_| match script.next() {
        None | Some(Act::Answer) => Ok(()),
        Some(Act::Fail) => Err(Failure::Device("CUDA failure 2".to_owned())),
        Some(Act::Panic) => panic!("simulated"),
    })
}

fn script() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![4 => Just(Act::Answer), 3 => Just(Act::Fail), 1 => Just(Act::Panic)];
    prop::collection::vec(act, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_caller_gets_its_own_answer_whatever_the_devices_do(
        scripts in prop::collection::vec(script(), 0..3),
        calls in prop::collection::vec(1usize..6, 1..16),
        max_batch in 1usize..6,
    ) {
        let devices = scripts.into_iter().map(scripted).chain([willing()]).collect();
        let engine = engine(max_batch, devices);
        thread::scope(|scope| {
            for (caller, rows) in calls.iter().enumerate() {
                let engine = &engine;
                scope.spawn(move || {
                    let numbers: Vec<f32> = (0..*rows).map(|row| (caller * 10 + row) as f32).collect();
                    assert_eq!(ask(engine, &numbers).unwrap(), numbers);
                });
            }
        });
        let metrics = engine.metrics();
        prop_assert_eq!(metrics.graphs[0].requests, calls.len() as u64);
        prop_assert_eq!(&metrics.devices.last().unwrap().retired, &None);
    }
}
