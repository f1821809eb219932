//! One turn: a worker serves one connection until it has nothing more to do, or has had enough.
//!
//! Reads, splits, calls the handler, gathers the replies and writes them. Decides what becomes of
//! the connection ([`Outcome`]) and leaves it to the worker to do it; knows no queue, no poller
//! but for the one registration, and no other connection.

use super::clock::{Moment, Watch, nanos};
use super::close::{MessageError, Reason};
use super::connection::{Connection, Read, Written};
use super::engine::Engine;
use super::input::Input;
use super::options::Options;
use super::panics::{discard, words};
use super::schedule::{Token, Wants};
use crate::metrics::{Block, FIRST_BUCKET_NANOS};
use crate::protocol::{Ending, Split, Splitter};
use crate::service::{Context, Flow, Refusal, Reply, Service, ServiceError};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Messages a connection may have answered before the next one has its turn.
const TURN_MESSAGES: u32 = 64;
/// Time a turn may take before the next connection has its own, but for the call that is running.
const TURN_TIME: Duration = Duration::from_millis(1);
/// A call that took longer sends the replies so far on their way: the next may take as long.
const SLOW_CALL: Duration = Duration::from_micros(100);
/// Gathered replies are sent when there are this many bytes of them.
const GATHERED: usize = 64 << 10;

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It waits in the poller.
    Park(Wants),
    /// There may be more to do, but others come first.
    Requeue,
    /// It is over.
    Close(Reason),
}

/// How much one connection may do before it gives way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    messages: u32,
    until: Moment,
}

impl Budget {
    pub(super) fn new(now: Moment) -> Self {
        Self { messages: TURN_MESSAGES, until: now + nanos(TURN_TIME) }
    }
}

/// A worker's buffers, which serve one connection after the other.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) input: Input,
    pub(super) output: Vec<u8>,
}

/// One connection at one worker.
pub(super) struct Turn<'a> {
    engine: &'a Engine,
    block: &'a Block,
    options: &'a Options,
    token: Token,
    connection: &'a mut Connection,
    budget: &'a mut Budget,
    watch: &'a mut Watch,
    /// Replies not yet sent.
    output: &'a mut Vec<u8>,
    /// The last read took all there was.
    drained: bool,
    /// Quick calls not yet in the histogram, and the time they took.
    quick: (u64, u64),
}

type Step = ControlFlow<Outcome>;

impl<'a> Turn<'a> {
    /// A turn of `connection`, which is the caller's, as `token`.
    pub(super) fn new(
        (engine, block, options): (&'a Engine, &'a Block, &'a Options),
        (token, connection): (Token, &'a mut Connection),
        output: &'a mut Vec<u8>,
        budget: &'a mut Budget,
        watch: &'a mut Watch,
    ) -> Self {
        debug_assert!(output.is_empty(), "the last turn has sent or kept its output");
        if engine.draining() {
            connection.leave(Reason::Drain);
        } else if connection.expires(options) <= watch.now() {
            connection.leave(Reason::MaxAge);
        }
        Self {
            engine,
            block,
            options,
            token,
            connection,
            budget,
            watch,
            output,
            drained: false,
            quick: (0, 0),
        }
    }

    /// Serves the connection.
    pub(super) fn serve(&mut self, spare: &mut Input) -> Outcome {
        if let ControlFlow::Break(outcome) = self.begin() {
            return outcome;
        }
        let mut input = Input::begin(&mut self.connection.input, spare);
        let outcome = self.work(&mut input);
        self.settle_calls();
        input.put_away(&mut self.connection.input, spare);
        outcome
    }

    /// Whether serving it may mean work that it could be refused. One that has left, or has only
    /// output to be rid of, is no load; and what a drain owes is not refused.
    pub(super) fn asks_for_work(&self) -> bool {
        let connection = &*self.connection;
        let comes_to_an_end = connection.leaving.is_some() || connection.ending.is_some();
        let speaks = || !connection.input.is_empty() || connection.unread_in_kernel() > 0;
        !comes_to_an_end && !connection.owes_output() && (connection.fresh || speaks())
    }

    /// Refuses to serve it: it has waited too long, as have others.
    pub(super) fn shed(&mut self) -> Outcome {
        self.block.shed.add(1);
        let mut refuse = || {
            self.register()?;
            self.say(Refusal::Busy);
            self.end(Reason::Shed)
        };
        match refuse() {
            ControlFlow::Break(outcome) => outcome,
            ControlFlow::Continue(()) => unreachable!("the end of a connection ends its turn"),
        }
    }

    /// What comes before any input: the greeting, or the output still owed.
    fn begin(&mut self) -> Step {
        if self.connection.fresh {
            return self.greet();
        }
        if self.connection.owes_output() {
            let (written, count) = self.connection.write_rest(self.watch.now());
            self.after_write(written, count)?;
        }
        match self.connection.ending {
            Some(reason) => ControlFlow::Break(Outcome::Close(reason)),
            None => ControlFlow::Continue(()),
        }
    }

    /// Has the poller watch the connection, if it does not yet.
    fn register(&mut self) -> Step {
        if !self.connection.fresh {
            return ControlFlow::Continue(());
        }
        if let Err(error) = self.engine.poller.register(self.connection, self.token) {
            log::warn!(id = self.connection.id; "a socket could not be watched: {error}");
            return ControlFlow::Break(Outcome::Close(Reason::IoError));
        }
        self.connection.fresh = false;
        ControlFlow::Continue(())
    }

    fn greet(&mut self) -> Step {
        self.register()?;
        let ending = self.options.framing.ending();
        self.call(ending, |service, ctx, reply| service.greet(ctx, reply))?;
        // The greeting's time is not to hold the write's.
        self.watch.lap();
        // A client may wait for the greeting before it sends anything.
        self.flush()
    }

    /// Answers and reads in turn, until something says otherwise.
    fn work(&mut self, input: &mut Input) -> Outcome {
        loop {
            if let ControlFlow::Break(outcome) = self.answer(input) {
                return outcome;
            }
            if let ControlFlow::Break(outcome) = self.receive(input) {
                return outcome;
            }
        }
    }

    fn splitter(&self) -> Splitter {
        Splitter::new(self.options.framing, self.options.max_message)
    }

    /// Answers every whole message of the buffer.
    fn answer(&mut self, input: &mut Input) -> Step {
        let splitter = self.splitter();
        loop {
            let at_end = self.connection.at_end;
            let progress = &mut self.connection.progress;
            let split = splitter.split(progress, input.unread(), at_end);
            let (body, ending, consumed) = match split {
                Split::Message { body, ending, consumed } => (body, ending, consumed),
                Split::Incomplete => return ControlFlow::Continue(()),
                Split::TooLong => {
                    let limit = self.options.max_message;
                    return self.refuse(MessageError::TooLarge, Refusal::TooLong { limit });
                }
            };
            if self.is_spent() {
                return self.flush_then(Outcome::Requeue);
            }
            self.connection.half = false;
            let step = self.call(ending, |service, ctx, reply| service.call(ctx, body, reply));
            let took = self.watch.lap();
            self.handled(took);
            input.consume(consumed);
            step?;
            self.budget.messages = self.budget.messages.saturating_sub(1);
            if took > nanos(SLOW_CALL) || self.output.len() >= GATHERED {
                self.flush()?;
            }
        }
    }

    /// Reads once, if there may be anything to read and the turn is not over.
    fn receive(&mut self, input: &mut Input) -> Step {
        if self.connection.at_end {
            if !input.is_empty() {
                self.count(MessageError::Incomplete);
            }
            return self.end(Reason::Client);
        }
        if let Some(reason) = self.connection.leaving
            && (self.connection.quota == 0 || self.drained)
        {
            return self.end(reason);
        }
        if self.drained {
            return self.flush_then(Outcome::Park(Wants::Input));
        }
        if self.is_spent() {
            return self.flush_then(Outcome::Requeue);
        }
        let room = input.room();
        let limit = self.splitter().read_limit(&self.connection.progress, room.len());
        let limit = limit.min(usize::try_from(self.connection.quota).unwrap_or(usize::MAX));
        match self.connection.read(&mut room[..limit]) {
            Read::Bytes(count) => {
                // The handler's time is not to hold the read's.
                self.watch.lap();
                input.filled(count);
                self.block.received_bytes.add(count as u64);
                if self.connection.leaving.is_some() {
                    self.connection.quota -= count as u64;
                }
                // Unless something else may have ended it, a short read has taken all there was;
                // no further event would tell of the rest.
                self.drained = count < limit && !self.connection.stops_short;
            }
            Read::End => self.connection.at_end = true,
            Read::Drained => self.drained = true,
            Read::Broken => return self.broken(),
        }
        ControlFlow::Continue(())
    }

    /// A call has taken `nanos`. Quick ones are summed and counted together at the turn's end:
    /// they are all of the first bucket, so nothing is lost by it.
    #[inline]
    fn handled(&mut self, nanos: u64) {
        if nanos <= FIRST_BUCKET_NANOS {
            self.quick = (self.quick.0 + 1, self.quick.1 + nanos);
        } else {
            self.block.handled(nanos);
        }
    }

    fn settle_calls(&mut self) {
        let (count, nanos) = self.quick;
        if count > 0 {
            self.block.handled_quickly(count, nanos);
        }
    }

    fn is_spent(&self) -> bool {
        self.budget.messages == 0 || self.watch.now() >= self.budget.until
    }

    /// One call of the service, with what its outcome means for the output.
    fn call<C>(&mut self, ending: Ending, call: C) -> Step
    where
        C: FnOnce(&dyn Service, &mut Context<'_>, &mut Reply<'_>) -> Result<Flow, ServiceError>,
    {
        let start = self.output.len();
        let connection = &mut *self.connection;
        let draining = connection.leaving == Some(Reason::Drain);
        let mut ctx = Context::new(connection.id, connection.peer, draining, &mut connection.state);
        let mut reply = Reply::new(self.output, self.options.max_pending_output);
        let service = &*self.engine.service;
        // The service is shared and may be left half-changed by a panic; that is its own affair,
        // as it is with any lock that a panic poisons. Ours is only the reply, which is dropped.
        let result = catch_unwind(AssertUnwindSafe(|| call(service, &mut ctx, &mut reply)));
        let flow = match result {
            Ok(_) if reply.overflowed() => return self.fail(start, MessageError::ReplyTooLarge),
            Ok(Ok(flow)) => flow,
            Ok(Err(error)) => {
                log::warn!(id = self.connection.id; "the handler failed: {error}");
                return self.fail(start, MessageError::Handler);
            }
            Err(panic) => {
                log::error!(id = self.connection.id; "the handler panicked: {}", words(&*panic));
                discard(panic);
                self.block.handler_panics.add(1);
                return self.fail(start, MessageError::Panic);
            }
        };
        match flow {
            Flow::Continue => self.output.extend_from_slice(ending.bytes()),
            Flow::Silent => self.output.truncate(start),
            Flow::Close => {
                if self.output.len() > start {
                    self.output.extend_from_slice(ending.bytes());
                }
                return self.end(Reason::Exit);
            }
        }
        ControlFlow::Continue(())
    }

    /// The handler failed: its half reply is dropped and the client told.
    fn fail(&mut self, start: usize, error: MessageError) -> Step {
        self.output.truncate(start);
        self.refuse(error, Refusal::Internal)
    }

    /// Last words, and the end.
    fn refuse(&mut self, error: MessageError, refusal: Refusal) -> Step {
        self.count(error);
        self.say(refusal);
        self.end(match refusal {
            Refusal::TooLong { .. } => Reason::TooLarge,
            Refusal::Internal | Refusal::Busy => Reason::Handler,
        })
    }

    fn say(&mut self, refusal: Refusal) {
        let mut reply = Reply::new(self.output, self.options.max_pending_output);
        let service = &*self.engine.service;
        if catch_unwind(AssertUnwindSafe(|| service.refuse(refusal, &mut reply))).is_err() {
            reply.clear();
        }
        self.output.extend_from_slice(self.options.framing.ending().bytes());
    }

    /// Sends what is gathered, then closes; a full socket closes when it has taken the rest.
    fn end(&mut self, reason: Reason) -> Step {
        self.connection.ending = Some(reason);
        self.flush_then(Outcome::Close(reason))
    }

    fn flush_then(&mut self, outcome: Outcome) -> Step {
        self.flush()?;
        ControlFlow::Break(outcome)
    }

    /// Sends what is gathered. A full socket ends the turn.
    fn flush(&mut self) -> Step {
        if self.output.is_empty() {
            return ControlFlow::Continue(());
        }
        let (written, count) = self.connection.write(self.output, self.watch.now());
        self.output.clear();
        // One reply of a megabyte does not cost a worker a megabyte for ever.
        self.output.shrink_to(2 * GATHERED);
        self.after_write(written, count)
    }

    fn after_write(&mut self, written: Written, count: usize) -> Step {
        self.block.write_time.observe(self.watch.lap());
        self.block.sent_bytes.add(count as u64);
        match written {
            Written::All => ControlFlow::Continue(()),
            Written::Partly => ControlFlow::Break(Outcome::Park(Wants::Room)),
            Written::Broken => {
                self.count(MessageError::Write);
                ControlFlow::Break(Outcome::Close(Reason::IoError))
            }
        }
    }

    /// The socket failed; replies not yet sent are lost.
    fn broken(&mut self) -> Step {
        if !self.output.is_empty() {
            self.output.clear();
            self.count(MessageError::Write);
        }
        ControlFlow::Break(Outcome::Close(Reason::IoError))
    }

    fn count(&self, error: MessageError) {
        log::debug!(id = self.connection.id, reason = error.label(); "a message failed");
        self.block.message_errors[error as usize].add(1);
    }
}
