//! Applies a schedule to the program while the crew talks to it, and lets there be rest at the
//! end of each round.

use super::client::World;
use super::crew::Crew;
use super::plan::{Mood, Plan};
use super::program::{DRAIN, Held, Program, SHORT_DRAIN, unexpected};
use super::reckoning::{Figures, Reckoning};
use super::schedule::{Fault, LONG_CALL, Schedule, WORKERS};
use super::transcript::{How, Moment};
use crate::faults::base::{Base, limit_files, total};
use crate::faults::relay::{Weather, relay};
use fastrand::Rng;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Clients of the permanent crew.
const CREW: u64 = 20;
/// How long a calm is.
const CALM: Duration = Duration::from_secs(1);
/// What the crew's relay does.
const DRIZZLE: Weather = Weather { delay: Duration::from_millis(5), piece: 3 };
/// Counts pauses without descriptors.
const PAUSES: &str = "welcomed_accept_pauses_total{cause=\"fd\"}";
/// Descriptors of the program, as many as the test machines allow.
const FILES: usize = 20_000;

pub struct Storm<'a> {
    schedule: &'a Schedule,
    world: World,
    held: Held,
    base: Base,
    /// None between two lives.
    program: Option<Program>,
    /// How many it is configured with.
    workers: usize,
    crew: Crew,
    /// Clients in calls that take long.
    sleepers: Vec<JoinHandle<()>>,
    reckoning: Reckoning,
}

impl<'a> Storm<'a> {
    /// The program's first life, and the crew before the gate.
    pub fn new(schedule: &'a Schedule) -> Self {
        let held = Held::new();
        held.configure(WORKERS, DRAIN);
        let program = held.start();
        let base = Base::of(&program);
        let patience = schedule.patience();
        let world = World { server: held.address, began: Instant::now(), patience };
        let way = relay(held.address, DRIZZLE, usize::MAX);
        let crew = Crew::new(world, CREW, (way, DRIZZLE.delay), schedule.seed_of(0));
        let mut reckoning = Reckoning::default();
        reckoning.born(program.pid(), Duration::ZERO);
        let program = Some(program);
        let (workers, sleepers) = (WORKERS, Vec::new());
        Self { schedule, world, held, base, program, workers, crew, sleepers, reckoning }
    }

    /// The whole schedule, and a clean end.
    pub fn run(mut self) -> Figures {
        self.crew.begin(Mood::Stormy);
        for (number, step) in (1..).zip(&self.schedule.steps) {
            thread::sleep(step.at.saturating_sub(self.world.now()));
            eprintln!("step {number:4}  {step}");
            self.reckoning.step(self.world.now(), format!("step {number}: {:?}", step.fault));
            self.apply(number, step.fault);
        }
        // Everyone has left when the last life ends: it has read what they know.
        let seen = self.crew.rest();
        self.terminate(How::Drained);
        self.hold(|reckoning| reckoning.judge(&seen));
        std::mem::take(&mut self.reckoning.figures)
    }

    fn program(&self) -> &Program {
        self.program.as_ref().unwrap()
    }

    fn apply(&mut self, number: u64, fault: Fault) {
        match fault {
            Fault::Kill { down } => {
                let told = self.kill();
                self.restart(told, down);
            }
            Fault::Terminate { calls, down } => {
                self.sleep(number, calls, LONG_CALL);
                thread::sleep(LONG_CALL / 4); // what comes meanwhile waits, if all are busy
                let told = self.terminate(How::Drained);
                self.restart(told, down);
            }
            Fault::HangForEver { all } => self.hang_for_ever(number, all),
            Fault::Reload { workers } => self.reload(workers, DRAIN),
            Fault::ReloadWrong => {
                self.held.spoil();
                self.program().reload(self.workers, true);
                self.held.configure(self.workers, DRAIN);
            }
            Fault::Stop { lasts } => self.stopped(|_| thread::sleep(lasts)),
            Fault::Resets { clients } => {
                self.burst(number, clients, Plan::resetting);
            }
            Fault::ResetsUnseen { clients } => self.stopped(|storm| {
                let burst = storm.burst(number, clients, Plan::resetting_at_once);
                burst.into_iter().for_each(|client| client.join().unwrap());
            }),
            Fault::NoFiles { lasts } => self.no_files(lasts),
            Fault::Weather { clients, delay, piece } => {
                let way = relay(self.held.address, Weather { delay, piece }, clients);
                self.burst(number, clients, |name, rng| Plan::relayed(name, rng, (way, delay)));
            }
            Fault::Panics { clients } => {
                self.burst(number, clients, Plan::failing);
            }
            Fault::Hang { calls, lasts } => self.sleep(number, calls, lasts),
            Fault::Rest => self.rest(),
        }
    }

    /// So many clients beside the crew; nobody waits for them but who wants to.
    fn burst(
        &self,
        number: u64,
        clients: usize,
        plan: impl Fn(String, &mut Rng) -> Plan,
    ) -> Vec<JoinHandle<()>> {
        let mut rng = Rng::with_seed(self.schedule.seed_of(number));
        let plans = (1..=clients).map(|client| plan(format!("s{number}.{client}"), &mut rng));
        self.crew.burst(plans.collect())
    }

    /// Calls that take long, in as many workers as there are.
    fn sleep(&mut self, number: u64, calls: usize, lasts: Duration) {
        let now = self.world.now();
        // One worker may have to do them all.
        self.reckoning.disturbed(now, now + lasts * calls as u32);
        self.sleepers.extend(self.burst(number, calls, |name, _| Plan::sleeping(name, lasts)));
    }

    fn reload(&mut self, workers: usize, drain: &str) {
        self.held.configure(workers, drain);
        self.program().reload(workers, false);
        self.workers = workers;
    }

    fn stopped(&mut self, meanwhile: impl FnOnce(&Self)) {
        let began = self.world.now();
        self.program().signal("STOP");
        meanwhile(self);
        self.program().signal("CONT");
        self.reckoning.disturbed(began, self.world.now());
    }

    fn no_files(&mut self, lasts: Duration) {
        let pauses = |program: &Program| program.scrape()[PAUSES];
        let (began, before) = (self.world.now(), pauses(self.program()));
        // Not even one client may come in, nor stay in the way of the next who tries.
        limit_files(self.program().pid(), self.base.files());
        thread::sleep(lasts);
        limit_files(self.program().pid(), FILES);
        // It may have begun its longest pause just now.
        self.reckoning.disturbed(began, self.world.now() + Duration::from_secs(1));
        let felt = pauses(self.program()) - before;
        self.reckoning.figures.pauses += felt as u64;
    }

    fn kill(&mut self) -> Moment {
        let told = self.world.now();
        self.program().signal("KILL");
        let status = self.ends(told, How::Killed);
        assert_eq!(status.signal(), Some(9), "{status}");
        told
    }

    /// SIGTERM, and the end that it is to have. Returns when it was told.
    fn terminate(&mut self, how: How) -> Moment {
        let told = self.world.now();
        self.program().signal("TERM");
        let status = self.ends(told, how);
        let code = if how == How::Drained { 0 } else { 3 };
        assert_eq!(status.code(), Some(code), "{status}, and it was {how:?}");
        told
    }

    /// The program that was told to end ends.
    fn ends(&mut self, told: Moment, how: How) -> ExitStatus {
        let (status, said) = self.program.take().unwrap().end();
        self.explained(&said);
        let gone = self.world.now();
        self.hold(|reckoning| reckoning.died(told, how, gone, &said));
        status
    }

    /// The next life, of which clients have been waiting since `told`.
    fn restart(&mut self, told: Moment, down: Duration) {
        thread::sleep(down);
        let born = self.world.now();
        let program = self.held.start();
        self.reckoning.born(program.pid(), born);
        self.program = Some(program);
        self.reckoning.disturbed(told, self.world.now());
    }

    fn hang_for_ever(&mut self, number: u64, all: bool) {
        // What does return shall be answered within the short drain.
        self.sleepers.drain(..).for_each(|sleeper| sleeper.join().unwrap());
        // One worker that hangs must not be the only one.
        let workers = self.workers.max(2);
        self.reload(workers, SHORT_DRAIN);
        let began = self.world.now();
        let hang = if all { workers } else { 1 };
        self.burst(number, hang, |name, _| Plan::hanging(name));
        self.program()
            .until("the workers hang", |now| now["welcomed_workers_overdue"] >= hang as f64);
        self.terminate(How::CutOff { all });
        self.held.configure(workers, DRAIN);
        self.restart(began, Duration::ZERO);
    }

    /// Everyone leaves; then all must be as at the beginning, and right. A calm follows, of which
    /// the clients know all: what the counters grow by meanwhile is known exactly.
    fn rest(&mut self) {
        self.all_leave(Mood::Stormy);
        self.crew.begin(Mood::Calm);
        thread::sleep(CALM);
        self.all_leave(Mood::Calm);
        self.crew.begin(Mood::Stormy);
    }

    fn all_leave(&mut self, mood: Mood) {
        let seen = self.crew.rest();
        self.hold(|reckoning| reckoning.judge(&seen));
        self.explained(&self.program().said());
        if self.workers != WORKERS {
            self.reload(WORKERS, DRAIN);
        }
        // Whoever has gone without a word is still to be accepted.
        self.program()
            .until("nobody waits to be let in", |now| total(now, "welcomed_listen_backlog") == 0.0);
        self.program().is_restored(&self.base);
        let samples = self.program().scrape();
        self.hold(|reckoning| reckoning.agrees_with(samples, mood));
    }

    fn explained(&self, said: &str) {
        let unexpected = unexpected(said);
        assert!(unexpected.is_empty(), "nothing explains these lines: {unexpected:#?}");
    }

    fn hold(&mut self, hold: impl FnOnce(&mut Reckoning) -> Result<(), String>) {
        if let Err(wrong) = hold(&mut self.reckoning) {
            panic!("{wrong}");
        }
    }
}

impl Drop for Storm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let now = self.world.now();
            let (step, now) = (self.reckoning.step_at(now), now.as_secs_f64());
            eprintln!("it failed at {now:.3} s, in {step}");
            eprintln!("{}", super::replay(self.schedule));
            if let Some(program) = &self.program {
                let said = program.said();
                let lines: Vec<&str> = said.lines().rev().take(20).collect();
                eprintln!("the program's last lines, the latest first: {lines:#?}");
            }
        }
    }
}
