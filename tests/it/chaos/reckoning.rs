//! What a run knows about the program's lives, and what it holds against them when there is rest:
//! every connection, the counters, the last lines. Kept by `storm`; knows no process and no socket.

use super::checker::{Circumstances, Defect};
use super::plan::{Leaves, Mood};
use super::totals::{ACCEPTED, Between, MESSAGES, Totals};
use super::transcript::{End, How, Life, Moment, Span, Transcript};
use crate::faults::base::total;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

/// Defects that are told in full.
const TOLD: usize = 3;

/// What a run has seen.
#[derive(Debug, Default)]
pub struct Figures {
    pub steps: usize,
    pub lives: usize,
    pub connections: usize,
    pub sent: usize,
    pub answered: usize,
    /// Connections that ended with their process, and with fewer replies than messages.
    pub interrupted: usize,
    /// Connections that were reset by their clients.
    pub reset: usize,
    /// Handlers that panicked or failed, by those who were told.
    pub failed: usize,
    /// Times that a process had no descriptors left.
    pub pauses: u64,
    /// Counters that were compared, and those of which the clients knew all.
    pub compared: usize,
    pub exact: usize,
    pub longest_wait: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, lives, connections, sent, answered, interrupted, .. } = self;
        let Self { reset, failed, pauses, compared, exact, longest_wait, .. } = self;
        write!(
            f,
            "{steps} steps, {lives} lives, {connections} connections, {sent} messages sent and \
             {answered} replies checked; {reset} clients reset, {failed} were told of an error, \
             {interrupted} lost their process; {pauses} pauses without descriptors; \
             {compared} counters compared, {exact} of them exactly; longest wait {longest_wait:?}"
        )
    }
}

#[derive(Debug, Default)]
pub struct Reckoning {
    lives: Vec<Life>,
    disturbances: Vec<Span>,
    /// What each life has to have counted since the last rest, by its process.
    totals: BTreeMap<u32, Totals>,
    /// What the living one had counted then.
    counted: BTreeMap<String, f64>,
    /// How many messages an ended life says that it has read since.
    read: Vec<(u32, f64)>,
    /// The steps since the last rest.
    steps: Vec<(Moment, String)>,
    pub figures: Figures,
}

impl Reckoning {
    pub fn step(&mut self, at: Moment, what: String) {
        self.steps.push((at, what));
        self.figures.steps += 1;
    }

    /// The step of this moment.
    pub fn step_at(&self, moment: Moment) -> &str {
        let place = self.steps.partition_point(|(at, _)| *at <= moment);
        place.checked_sub(1).map_or("no step yet", |place| &self.steps[place].1)
    }

    pub fn disturbed(&mut self, from: Moment, to: Moment) {
        self.disturbances.push((from, to));
    }

    pub fn born(&mut self, process: u32, began: Moment) {
        self.lives.push(Life { process, began, end: None, gone: None });
        self.totals.insert(process, Totals::default());
        self.counted.clear();
        self.figures.lives += 1;
    }

    /// The living one was told to end so, and is gone. Its last line says how many messages it has
    /// read, if it had time for one.
    pub fn died(&mut self, told: Moment, how: How, gone: Moment, said: &str) -> Result<(), String> {
        let life = self.lives.last_mut().unwrap();
        (life.end, life.gone) = (Some((told, how)), Some(gone));
        if how != How::Killed {
            let words = said.split("stopped after ").nth(1).and_then(|it| it.split(' ').next());
            let count = words.and_then(|count| count.parse::<f64>().ok());
            let count = count.ok_or_else(|| format!("no last line: {said}"))?;
            let before = self.counted.get(MESSAGES).copied().unwrap_or_default();
            self.read.push((life.process, count - before));
        }
        Ok(())
    }

    /// Everyone has left: each connection, and each life's last line, must be right.
    pub fn judge(&mut self, seen: &[Transcript]) -> Result<(), String> {
        let (lives, disturbances) = (&self.lives, &self.disturbances);
        let circumstances = Circumstances { lives, disturbances };
        let judged = seen.iter().map(|seen| (seen, circumstances.judge(seen)));
        let found: Vec<_> =
            judged.filter_map(|(seen, verdict)| Some((seen, verdict.err()?))).collect();
        if !found.is_empty() {
            return Err(self.tell(&found));
        }
        for seen in seen {
            self.count(seen);
        }
        for (process, read) in std::mem::take(&mut self.read) {
            let expected = self.totals[&process].counts.get(MESSAGES).copied().unwrap_or_default();
            self.compare(&format!("messages read by process {process}"), expected, read)?;
        }
        Ok(())
    }

    /// What the living process has counted since the last rest must be what its clients have; and
    /// exactly that, if there was a calm. What comes counts from here on.
    pub fn agrees_with(
        &mut self,
        samples: BTreeMap<String, f64>,
        mood: Mood,
    ) -> Result<(), String> {
        let process = self.lives.last().unwrap().process;
        let of = |samples: &BTreeMap<String, f64>, name: &str| {
            samples.get(name).copied().unwrap_or_else(|| total(samples, name))
        };
        for (name, expected) in self.totals[&process].counts.clone() {
            assert!(mood == Mood::Stormy || expected.is_exact(), "{name}: {expected}");
            self.compare(name, expected, of(&samples, name) - of(&self.counted, name))?;
        }
        self.counted = samples;
        self.forget();
        Ok(())
    }

    /// What was before the rest is over: no connection has two sides of it.
    fn forget(&mut self) {
        self.lives.retain(|life| life.end.is_none());
        let lives = self.lives.iter().map(|life| (life.process, Totals::default()));
        self.totals = lives.collect();
        self.disturbances.clear();
        self.steps.drain(..self.steps.len().saturating_sub(1));
    }

    fn compare(&mut self, what: &str, expected: Between, counted: f64) -> Result<(), String> {
        self.figures.compared += 1;
        self.figures.exact += usize::from(expected.is_exact());
        if expected.holds(counted) {
            return Ok(());
        }
        Err(format!("{what}: {counted}, and by the clients' notes {expected}"))
    }

    fn count(&mut self, seen: &Transcript) {
        if let Some(process) = seen.process() {
            self.totals.get_mut(&process).unwrap().add(seen);
        } else {
            // It waits in the kernel's queue to be accepted even when its client is gone.
            for life in self.lives.iter().filter(|life| life.ends_after(seen.connected)) {
                self.totals.get_mut(&life.process).unwrap().add_perhaps(seen);
            }
        }
        let figures = &mut self.figures;
        figures.connections += 1;
        figures.sent += seen.wrote.sent.len();
        figures.answered += seen.heard.len();
        figures.reset += usize::from(seen.left_early());
        figures.failed += usize::from(seen.has_last_words());
        let short = seen.heard.len() < seen.answerable();
        figures.interrupted += usize::from(short && seen.end != End::Left);
        let waits = seen.heard.iter().zip(&seen.wrote.sent);
        let longest = waits.map(|((_, heard), sent)| heard.saturating_sub(*sent)).max();
        figures.longest_wait = figures.longest_wait.max(longest.unwrap_or_default());
    }

    /// The defects, each with the step of its moment and the notes around it.
    fn tell(&self, found: &[(&Transcript, Defect)]) -> String {
        let mut text = format!("{} connections with a defect\n", found.len());
        for (seen, Defect { what, at }) in found.iter().take(TOLD) {
            let (step, notes) = (self.step_at(*at), seen.around(*at));
            let at = at.as_secs_f64();
            writeln!(text, "\n{what}\nat {at:.6} s, in {step}\n{notes}").unwrap();
        }
        for life in &self.lives {
            writeln!(text, "{life:?}").unwrap();
        }
        text
    }
}

#[test]
fn counters_and_last_lines_that_do_not_add_up_are_found() {
    use super::samples::{at, good};
    let judged = |read: usize| {
        let mut reckoning = Reckoning::default();
        reckoning.born(77, at(0));
        let said = format!("... INFO stopped after {read} messages");
        reckoning.died(at(2000), How::Drained, at(2010), &said).unwrap();
        reckoning.judge(&[good(), good()])
    };
    assert_eq!(judged(8), Ok(()));
    for wrong in [7, 9] {
        let said = judged(wrong).expect_err("not what the clients have heard");
        assert_eq!(
            said,
            format!("messages read by process 77: {wrong}, and by the clients' notes 8")
        );
    }
    let mut reckoning = Reckoning::default();
    reckoning.born(77, at(0));
    reckoning.judge(&[good()]).unwrap();
    let mut samples: BTreeMap<String, f64> = reckoning.totals[&77]
        .counts
        .iter()
        .map(|(name, count)| (name.to_string(), count.least as f64))
        .collect();
    for name in samples.clone().keys() {
        *samples.get_mut(name).unwrap() += 1.0;
        assert!(reckoning.agrees_with(samples.clone(), Mood::Calm).is_err(), "{name}");
        *samples.get_mut(name).unwrap() -= 1.0;
    }
    assert_eq!(reckoning.agrees_with(samples.clone(), Mood::Calm), Ok(()));
    // From here on the same again is too much, or too little.
    assert_eq!(reckoning.agrees_with(samples.clone(), Mood::Calm), Ok(()), "nobody came");
    reckoning.judge(&[good()]).unwrap();
    assert!(reckoning.agrees_with(samples, Mood::Calm).is_err());
}

#[test]
fn a_client_that_nobody_has_answered_may_be_of_any_life_that_was_to_come() {
    use super::samples::{at, good};
    let mut reckoning = Reckoning::default();
    reckoning.born(76, at(0));
    let said = "stopped after 0 messages";
    reckoning.died(at(100), How::Drained, at(200), said).unwrap();
    reckoning.born(77, at(5000));
    let mut gone = good();
    gone.heard.clear();
    (gone.end, gone.plan.leaves) = (End::Left, Leaves::Resetting { after: 0 });
    reckoning.judge(&[gone]).unwrap();
    assert_eq!(reckoning.totals[&77].counts[ACCEPTED], Between { least: 0, most: 1 });
    assert!(reckoning.totals[&76].counts.is_empty(), "it was over before");
}

#[test]
fn a_defect_is_told_with_its_step_and_the_notes_around_it() {
    use super::samples::{at, good};
    let mut reckoning = Reckoning::default();
    reckoning.born(77, at(0));
    for (when, what) in [(900, "step 1: Rest"), (1030, "step 2: Reload"), (9000, "step 3: Rest")] {
        reckoning.step(at(when), what.to_owned());
    }
    let mut wrong = good();
    wrong.heard[3].0 = "another's".to_owned();
    let told = reckoning.judge(&[good(), wrong]).expect_err("a defect that was planted");
    for part in ["1 connections with a defect", "in step 2: Reload", "heard  another's", "sent   c"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
}
