//! The calls that wait for a device. The owner threads of an engine share one queue: whoever is free takes the oldest
//! call with whatever fits it, and leaves to other free devices their share. A call that a device failed at comes
//! back and is left to the others.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::request::{Failure, Request};

/// Calls that may wait; a further caller waits until there is room.
const CAPACITY: usize = 64;

/// No lock is held while anything is computed.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// There is something to take, or nothing will ever be.
    work: Condvar,
    /// There is room for a further call, or no device for it.
    room: Condvar,
}

struct State {
    waiting: VecDeque<Request>,
    /// Why each device serves no longer; none: it does.
    retired: Vec<Option<String>>,
    /// Devices that wait for work.
    idle: usize,
    closed: bool,
}

impl Queue {
    /// A queue for so many devices.
    pub(crate) fn new(devices: usize) -> Self {
        let state = State { waiting: VecDeque::new(), retired: vec![None; devices], idle: 0, closed: false };
        Self { state: Mutex::new(state), work: Condvar::new(), room: Condvar::new() }
    }

    /// Adds a call; waits while the queue is full. Fails where no device serves.
    pub(crate) fn push(&self, request: Request) -> Result<(), Failure> {
        let mut state = self.state.lock();
        while state.waiting.len() >= CAPACITY && state.serves() {
            self.room.wait(&mut state);
        }
        if !state.serves() {
            return Err(state.stopped());
        }
        state.waiting.push_back(request);
        self.work.notify_all();
        Ok(())
    }

    /// Waits for calls and takes the oldest that the device at `position` has not failed at, with those that fit it.
    /// `None` once the queue is closed.
    pub(crate) fn take(
        &self,
        position: usize,
        fits: impl Fn(&Request, &Request) -> bool,
    ) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            let batch = state.take(position, &fits);
            if !batch.is_empty() {
                self.room.notify_all();
                return Some(batch);
            }
            state.idle += 1;
            self.work.wait(&mut state);
            state.idle -= 1;
        }
    }

    /// Puts calls back that the device at `position` failed at, ahead of the others. Callers whom no other device can
    /// help get their answer.
    pub(crate) fn give_back(&self, position: usize, batch: Vec<Request>, failure: &Failure) {
        let mut state = self.state.lock();
        for mut request in batch.into_iter().rev() {
            request.tried.push(position);
            request.failure = Some(failure.clone());
            state.waiting.push_front(request);
        }
        let lost = state.take_lost();
        self.tell_all(state, lost);
    }

    /// The device at `position` serves no longer, for `reason`. Its work is left to the others.
    pub(crate) fn retire(&self, position: usize, reason: &str) {
        let mut state = self.state.lock();
        let lost = state.retire(position, reason);
        self.tell_all(state, lost);
    }

    /// The same, but where no other device serves: then nothing changes and the answer is `false`.
    pub(crate) fn retire_unless_last(&self, position: usize, reason: &str) -> bool {
        let mut state = self.state.lock();
        if !state.others_serve(position) {
            return false;
        }
        let lost = state.retire(position, reason);
        self.tell_all(state, lost);
        true
    }

    /// Sends every owner thread home.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }

    /// Why each device serves no longer; none: it does.
    pub(crate) fn retired(&self) -> Vec<Option<String>> {
        self.state.lock().retired.clone()
    }

    /// Calls that wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Wakes whoever waits and answers the callers of lost calls.
    fn tell_all(&self, state: MutexGuard<'_, State>, lost: Vec<(Request, Failure)>) {
        drop(state);
        self.work.notify_all();
        self.room.notify_all();
        for (request, failure) in lost {
            request.answer(Err(failure));
        }
    }
}

impl State {
    fn serves(&self) -> bool {
        self.retired.iter().any(Option::is_none)
    }

    fn others_serve(&self, position: usize) -> bool {
        self.retired.iter().enumerate().any(|(other, retired)| other != position && retired.is_none())
    }

    /// Ends the service of a device. The calls that this leaves without any.
    fn retire(&mut self, position: usize, reason: &str) -> Vec<(Request, Failure)> {
        self.retired[position] = Some(reason.to_owned());
        self.take_lost()
    }

    /// Why no device serves.
    fn stopped(&self) -> Failure {
        Failure::Stopped(self.retired.iter().flatten().cloned().collect::<Vec<_>>().join("; "))
    }

    /// The oldest call for a device with what fits it, but for the share of devices that wait for work. A call that
    /// failed somewhere travels alone, so that it takes no other along.
    fn take(&mut self, position: usize, fits: &impl Fn(&Request, &Request) -> bool) -> Vec<Request> {
        let Some(oldest) = self.waiting.iter().position(|request| !request.tried.contains(&position)) else {
            return Vec::new();
        };
        let company = self.company(oldest, fits);
        let share = (1 + company.len()).div_ceil(1 + self.idle);
        let taken = [oldest].into_iter().chain(company).take(share);
        // From the back, so that the places of the others stay what they are.
        let mut batch: Vec<_> = taken
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .filter_map(|place| self.waiting.remove(place))
            .collect();
        batch.reverse();
        batch
    }

    /// Places of the calls that can be computed together with the one at `first`.
    fn company(&self, first: usize, fits: &impl Fn(&Request, &Request) -> bool) -> Vec<usize> {
        let Some(request) = self.waiting.get(first).filter(|request| request.tried.is_empty()) else {
            return Vec::new();
        };
        let mut rows = request.rows;
        let mut company = Vec::new();
        for (place, other) in self.waiting.iter().enumerate().skip(first + 1) {
            let enough_room = rows + other.rows <= request.max_rows;
            if enough_room && other.tried.is_empty() && fits(other, request) {
                rows += other.rows;
                company.push(place);
            }
        }
        company
    }

    /// Takes the calls out that every serving device has failed at, with what their callers are to be told.
    fn take_lost(&mut self) -> Vec<(Request, Failure)> {
        let serving: Vec<usize> = (0..self.retired.len()).filter(|&i| self.retired[i].is_none()).collect();
        let is_lost = |request: &Request| serving.iter().all(|position| request.tried.contains(position));
        let (lost, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(is_lost);
        self.waiting = kept;
        let stopped = serving.is_empty().then(|| self.stopped());
        lost.into_iter()
            .map(|request| {
                let failure = stopped.clone().or_else(|| request.failure.clone());
                (request, failure.unwrap_or_else(|| Failure::Stopped(String::new())))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    use crossbeam_channel::{Receiver, bounded};
    use ndarray::ArrayD;

    use super::*;
    use crate::Graph;
    use crate::request::{Answer, Value};

    type Reply = Receiver<Result<Answer, Failure>>;

    /// A call that its number tells from others.
    fn request(number: usize, max_rows: usize) -> (Request, Reply) {
        let (reply, answer) = bounded(1);
        let inputs = vec![Value::F32(ArrayD::from_elem(vec![1], number as f32))];
        let graph = Graph::Retrieval;
        (Request { graph, rows: 1, max_rows, inputs, reply, tried: Vec::new(), failure: None }, answer)
    }

    fn filled(devices: usize, calls: usize, max_rows: usize) -> (Queue, Vec<Reply>) {
        let queue = Queue::new(devices);
        let mut replies = Vec::new();
        for number in 0..calls {
            let (request, reply) = request(number, max_rows);
            queue.push(request).unwrap();
            replies.push(reply);
        }
        (queue, replies)
    }

    fn numbers(batch: &[Request]) -> Vec<usize> {
        batch.iter().map(|request| request.inputs[0].floats().unwrap()[[0]] as usize).collect()
    }

    fn take(queue: &Queue, position: usize) -> Vec<usize> {
        numbers(&queue.take(position, |_, _| true).unwrap())
    }

    fn device_failure() -> Failure {
        Failure::Device("CUDA failure 2".to_owned())
    }

    #[test]
    fn the_oldest_goes_first_with_what_fits_it() {
        let (queue, _replies) = filled(1, 6, 3);
        let batch = queue.take(0, same_parity).unwrap();
        assert_eq!(numbers(&batch), [0, 2, 4]);
        assert_eq!(take(&queue, 0), [1, 3, 5]);
    }

    fn same_parity(a: &Request, b: &Request) -> bool {
        let number = |request: &Request| request.inputs[0].floats().unwrap()[[0]] as usize;
        number(a) % 2 == number(b) % 2
    }

    #[test]
    fn devices_that_wait_get_their_share() {
        let (queue, _replies) = filled(3, 7, 16);
        queue.state.lock().idle = 2;
        assert_eq!(take(&queue, 0), [0, 1, 2]);
        queue.state.lock().idle = 1;
        assert_eq!(take(&queue, 1), [3, 4]);
        queue.state.lock().idle = 0;
        assert_eq!(take(&queue, 2), [5, 6]);
    }

    #[test]
    fn what_a_device_failed_at_goes_first_alone_and_to_another() {
        let (queue, _replies) = filled(2, 4, 2);
        let batch = queue.take(0, |_, _| true).unwrap();
        queue.give_back(0, batch, &device_failure());
        assert_eq!(take(&queue, 0), [2, 3]);
        assert_eq!(take(&queue, 1), [0]);
        assert_eq!(take(&queue, 1), [1]);
    }

    #[test]
    fn what_no_device_is_left_for_is_answered() {
        let (queue, replies) = filled(2, 2, 1);
        let batch = queue.take(0, |_, _| true).unwrap();
        queue.give_back(0, batch, &device_failure());
        assert_eq!(queue.len(), 2);
        // The other device ends: the call that the first failed at has nowhere to go, the other has.
        assert!(queue.retire_unless_last(1, "it failed"));
        assert_eq!(replies[0].try_recv().unwrap().unwrap_err(), device_failure());
        assert_eq!(queue.len(), 1);
        assert!(!queue.retire_unless_last(0, "it failed, too"));
        queue.retire(0, "it broke down");
        let stopped = Failure::Stopped("it broke down; it failed".to_owned());
        assert_eq!(replies[1].try_recv().unwrap().unwrap_err(), stopped);
        assert_eq!(queue.push(request(9, 1).0).unwrap_err(), stopped);
    }

    #[test]
    fn the_queue_is_bounded() {
        let (queue, pushed) = (Queue::new(1), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..CAPACITY + 3 {
                    queue.push(request(number, 1).0).unwrap();
                    pushed.fetch_add(1, SeqCst);
                }
            });
            while pushed.load(SeqCst) < CAPACITY {
                thread::yield_now();
            }
            assert_eq!((queue.len(), pushed.load(SeqCst)), (CAPACITY, CAPACITY));
            for number in 0..CAPACITY + 3 {
                assert_eq!(take(&queue, 0), [number]);
            }
        });
        queue.close();
        assert!(queue.take(0, |_, _| true).is_none());
    }
}
