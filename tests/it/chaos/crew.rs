//! The clients: a permanent crew, bursts beside it, and the gate at which all of them wait when
//! there is to be rest. Used by `storm`.

use super::client::World;
use super::plan::{Mood, Plan};
use super::transcript::Transcript;
use fastrand::Rng;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Who is about, and what they have seen since it was last asked for.
#[derive(Default)]
struct State {
    /// None: nobody comes in.
    open: Option<Mood>,
    over: bool,
    busy: usize,
    seen: Vec<Transcript>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    /// Waits until clients may be about. None: it is over.
    fn enter(&self) -> Option<Mood> {
        let closed = |state: &mut State| state.open.is_none() && !state.over;
        let mut state = self.changed.wait_while(self.state.lock().unwrap(), closed).unwrap();
        let mood = state.open.filter(|_| !state.over)?;
        state.busy += 1;
        Some(mood)
    }

    fn leave(&self, seen: Transcript) {
        let mut state = self.state.lock().unwrap();
        state.busy -= 1;
        state.seen.push(seen);
        self.changed.notify_all();
    }
}

pub struct Crew {
    world: World,
    gate: Arc<Gate>,
    members: Vec<JoinHandle<()>>,
}

impl Crew {
    /// So many clients, one connection after the other each, when they are let in.
    pub fn new(world: World, size: u64, relay: (SocketAddr, Duration), seed: u64) -> Self {
        let gate = Arc::new(Gate::default());
        let member = |number: u64| {
            let (gate, mut rng) = (Arc::clone(&gate), Rng::with_seed(seed.wrapping_add(number)));
            thread::spawn(move || {
                for visit in 1.. {
                    let Some(mood) = gate.enter() else { break };
                    let name = format!("c{number}.{visit}");
                    gate.leave(world.visit(Plan::any(name, &mut rng, relay, mood)));
                    thread::sleep(Duration::from_millis(rng.u64(..40))); // somebody else's turn
                }
            })
        };
        let members = (1..=size).map(member).collect();
        Self { world, gate, members }
    }

    /// Clients beside the crew, all at once.
    pub fn burst(&self, plans: Vec<Plan>) -> Vec<JoinHandle<()>> {
        self.gate.state.lock().unwrap().busy += plans.len();
        let visit = |plan| {
            let (gate, world) = (Arc::clone(&self.gate), self.world);
            thread::spawn(move || gate.leave(world.visit(plan)))
        };
        plans.into_iter().map(visit).collect()
    }

    /// Lets the crew in.
    pub fn begin(&self, mood: Mood) {
        self.gate.state.lock().unwrap().open = Some(mood);
        self.gate.changed.notify_all();
    }

    /// Lets nobody in, waits until all have left, and hands over what they have seen.
    pub fn rest(&self) -> Vec<Transcript> {
        let mut state = self.gate.state.lock().unwrap();
        state.open = None;
        // A connection has many waits, and each may take that long; but they have deadlines.
        let patience = self.world.patience * 4;
        let busy = |state: &mut State| state.busy > 0;
        let (mut state, outcome) =
            self.gate.changed.wait_timeout_while(state, patience, busy).unwrap();
        assert!(!outcome.timed_out(), "{} clients do not come to an end", state.busy);
        mem::take(&mut state.seen)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.gate.state.lock().unwrap().over = true;
        self.gate.changed.notify_all();
        if !thread::panicking() {
            self.members.drain(..).for_each(|member| member.join().unwrap());
        }
    }
}
