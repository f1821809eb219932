//! The model of the schedule: the real `schedule.rs`, compiled over loom's primitives, in every
//! interleaving (with a bounded number of preemptions) of two workers, an accept loop and a peer;
//! and the hand-shakes of `due.rs` and `vacancy.rs`, each with the two threads it is between.
//!
//! Shown of the schedule: no event is lost, no connection has two owners, each is closed exactly
//! once, and no worker sleeps while work waits (loom reports that as a deadlock). The last test
//! takes the second look at the queue away and shows that the model then fails; so do the tests of
//! the other two.
#![allow(clippy::unwrap_used)] // tests
#![allow(clippy::arc_with_non_send_sync)] // the model's threads are loom's, all on one of ours
#![allow(unreachable_pub)] // no API

mod sync {
    pub use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
}

mod clock {
    pub type Moment = u64;
    pub const NEVER: Moment = Moment::MAX;
}

mod alarm;
mod deadlines;
#[path = "../../src/server/due.rs"]
mod due;
#[allow(dead_code)] // a scenario uses a part
#[path = "../../src/server/schedule.rs"]
mod schedule;
#[path = "../../src/server/vacancy.rs"]
mod vacancy;
mod world;

use alarm::Alarm;
use loom::thread;
use schedule::Wants;
use std::sync::Arc;
use sync::{AtomicUsize, Ordering};
use vacancy::Vacancy;
use world::{Plain, Rules, Unguarded, World};

/// Every interleaving with at most this many preemptive switches. The known ways to lose a
/// wake-up need two.
fn check(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(scenario);
}

/// Two workers, an accept loop that admits clients and sweeps, and a peer that sends to each
/// client what `sends` says and then ends it.
fn clients_come_and_go<R: Rules>(clients: usize, sends: usize) {
    let world = Arc::new(World::<R>::new(clients));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let world = Arc::clone(&world);
            thread::spawn(move || world.work())
        })
        .collect();
    let peer = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            for client in 0..clients {
                for _ in 0..sends {
                    world.send(client);
                }
                world.end(client);
            }
        })
    };
    for client in 0..clients {
        world.admit(client);
    }
    world.sweep();
    peer.join().unwrap();
    for worker in workers {
        worker.join().unwrap();
    }
    world.check_all_closed(sends);
}

#[test]
fn one_client_sends_twice() {
    check(2, || clients_come_and_go::<Plain>(1, 2));
}

#[test]
fn two_clients_at_once() {
    check(2, || clients_come_and_go::<Plain>(2, 1));
}

/// An idle deadline: the accept loop claims the parked connection while its peer sends.
#[test]
fn a_deadline_claims_a_connection_that_gets_bytes() {
    check(3, || {
        let world = Arc::new(World::<Plain>::new(1));
        let worker = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.work())
        };
        let peer = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.send(0);
                world.end(0);
            })
        };
        world.admit(0);
        world.claim_and_give_back(0);
        peer.join().unwrap();
        worker.join().unwrap();
        world.check_all_closed(1);
    });
}

fn a_message_comes_before_the_deadline(asked: bool) {
    check(3, move || {
        let world = Arc::new(World::<Plain>::new(1));
        let worker = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.work())
        };
        world.admit(0);
        world.send(0);
        world.expire(0, asked);
        world.end(0);
        worker.join().unwrap();
        world.check_all_closed(1);
    });
}

/// The poller may have told a worker, which has not said so yet.
#[test]
fn what_has_come_before_a_deadline_is_served() {
    a_message_comes_before_the_deadline(true);
}

/// The same without a look at the socket.
#[test]
#[should_panic(expected = "a message was lost")]
fn without_a_look_at_the_socket_a_deadline_loses_a_message() {
    a_message_comes_before_the_deadline(false);
}

/// The drain's sweep passes while a worker is about to park: one of the two sees the other, and
/// the connection is closed although its peer never ends.
#[test]
fn a_drain_misses_no_connection() {
    check(3, || {
        let world = Arc::new(World::<Plain>::new(1));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.work())
            })
            .collect();
        world.admit(0);
        world.drain();
        for worker in workers {
            worker.join().unwrap();
        }
        world.check_all_closed(0);
    });
}

/// A worker leaves the pool after it took the wake that was meant for work in the queue: the
/// other one gets it.
#[test]
fn a_worker_that_retires_hands_its_wake_on() {
    check(3, || {
        let world = Arc::new(World::<Plain>::new(1));
        let stays = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.work())
        };
        let leaves = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.look_once_and_retire())
        };
        world.end(0);
        world.admit(0);
        stays.join().unwrap();
        leaves.join().unwrap();
        world.check_all_closed(0);
    });
}

/// A full turn's leftover goes to the queue's tail with its events still noted.
#[test]
fn a_requeued_connection_keeps_its_events() {
    check(2, || {
        let world = Arc::new(World::<Plain>::new(1));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.work_in_small_turns())
            })
            .collect();
        world.admit(0);
        world.send(0);
        world.send(0);
        world.end(0);
        for worker in workers {
            worker.join().unwrap();
        }
        world.check_all_closed(2);
    });
}

/// An event for a closed connection finds the slot's next tenant, and leaves it alone.
#[test]
fn a_late_event_does_not_touch_the_next_tenant() {
    check(3, || {
        let cell = Arc::new(schedule::Cell::new());
        let old = cell.admit();
        cell.take();
        let late = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || cell.fire(old, schedule::Events::READ, true))
        };
        cell.free();
        let new = cell.admit();
        assert_ne!(old, new);
        cell.take();
        assert_eq!(cell.park(Wants::Input), Ok(()), "the event was not this tenant's");
        let fired = late.join().unwrap();
        assert!(matches!(fired, schedule::Fired::Noted | schedule::Fired::Stale), "{fired:?}");
    });
}

/// A table of one place, an accept loop that waits for it, and who frees it.
struct Place {
    taken: AtomicUsize,
    vacancy: Vacancy,
    alarm: Alarm,
}

impl Place {
    fn free(&self) {
        self.taken.store(0, Ordering::Relaxed);
        self.vacancy.freed(|| self.alarm.ring());
    }

    /// Waits until the place is free, as the accept loop does.
    fn take(&self, second_look: bool) {
        let is_full = || self.taken.load(Ordering::Relaxed) == 1;
        while is_full() {
            if self.vacancy.await_one(|| !second_look || is_full()) {
                break;
            }
            self.alarm.wait();
        }
        self.vacancy.settle();
        self.taken.store(1, Ordering::Relaxed);
    }
}

fn a_place_is_waited_for(second_look: bool) {
    check(3, move || {
        let place = Arc::new(Place {
            taken: AtomicUsize::new(1),
            vacancy: Vacancy::new(),
            alarm: Alarm::new(),
        });
        let freeing = {
            let place = Arc::clone(&place);
            thread::spawn(move || place.free())
        };
        place.take(second_look);
        freeing.join().unwrap();
    });
}

/// An accept loop that waits for a free place hears of it, however the two meet.
#[test]
fn a_place_that_becomes_free_is_taken() {
    a_place_is_waited_for(true);
}

/// The same seeded bug there.
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_second_look_a_free_place_stays_empty() {
    a_place_is_waited_for(false);
}

/// The seeded bug. Without the second look at the queue, a connection pushed between a worker's
/// first look and its "I am idle" waits for ever.
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_second_look_a_worker_sleeps_while_work_waits() {
    check(3, || clients_come_and_go::<Unguarded>(1, 0));
}
