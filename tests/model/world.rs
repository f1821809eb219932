//! What the schedule works on, in the model: a queue, a poller with edge-triggered coalescing
//! events, sockets, and cells that loom watches for two owners.

use crate::schedule::{Cell, Events, Floor, Job, Next, Schedule, Signal, Token, Wants};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::marker::PhantomData;

/// Which schedule is checked: ours, or ours with a bug.
pub trait Rules: Send + Sync + 'static {
    const SECOND_LOOK: bool;
}

/// As it is built.
pub struct Plain;

impl Rules for Plain {
    const SECOND_LOOK: bool = true;
}

/// Without the second look at the queue.
pub struct Unguarded;

impl Rules for Unguarded {
    const SECOND_LOOK: bool = false;
}

#[derive(Default)]
struct Ready {
    /// Edges not yet fetched; those of one socket coalesce.
    edges: Vec<(Token, Events)>,
    /// The eventfd: a second write before it is fetched is not seen.
    wake: bool,
    /// Level-triggered.
    stop: bool,
}

#[derive(Default)]
struct Socket {
    token: Option<Token>,
    unread: usize,
    ended: bool,
    /// A worker knows from an event that it has ended.
    hung_up: bool,
}

struct Client {
    cell: Cell,
    socket: Mutex<Socket>,
    /// Entered by the owner alone: loom fails if two threads are in it without order.
    touched: UnsafeCell<()>,
    served: AtomicUsize,
    closed: AtomicUsize,
}

pub struct World<R> {
    schedule: Schedule,
    queue: Mutex<VecDeque<Token>>,
    ready: Mutex<Ready>,
    something: Condvar,
    clients: Vec<Client>,
    open: AtomicUsize,
    stopping: AtomicBool,
    rules: PhantomData<R>,
}

impl<R: Rules> World<R> {
    pub fn new(clients: usize) -> Self {
        let client = |_| Client {
            cell: Cell::new(),
            socket: Mutex::new(Socket::default()),
            touched: UnsafeCell::new(()),
            served: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
        };
        Self {
            schedule: Schedule::new(),
            queue: Mutex::new(VecDeque::new()),
            ready: Mutex::new(Ready::default()),
            something: Condvar::new(),
            clients: (0..clients).map(client).collect(),
            open: AtomicUsize::new(clients),
            stopping: AtomicBool::new(false),
            rules: PhantomData,
        }
    }

    /// The accept loop lets a client in.
    pub fn admit(&self, client: usize) {
        let generation = self.clients[client].cell.admit();
        let token = Token { slot: client as u32, generation };
        self.schedule.submit(self, token);
    }

    /// The accept loop's tick.
    pub fn sweep(&self) {
        self.schedule.sweep(self, &mut Vec::new());
    }

    /// The accept loop looks at a deadline that is not due after all.
    pub fn claim_and_give_back(&self, client: usize) {
        let it = &self.clients[client];
        let Some((generation, wants)) = it.cell.claim() else {
            return;
        };
        it.touched.with_mut(|_| ());
        self.schedule.give_back(self, Token { slot: client as u32, generation }, wants);
    }

    /// The accept loop looks at a deadline that is over: the connection is closed, unless its
    /// socket is asked and has something.
    pub fn expire(&self, client: usize, asked: bool) {
        let it = &self.clients[client];
        let Some((generation, _)) = it.cell.claim() else {
            return;
        };
        it.touched.with_mut(|_| ());
        let is_ready = asked && it.socket.lock().unwrap().unread > 0;
        if is_ready {
            it.cell.requeue();
            self.schedule.submit(self, Token { slot: client as u32, generation });
        } else {
            self.close(it);
        }
    }

    fn close(&self, it: &Client) {
        assert_eq!(it.closed.fetch_add(1, Ordering::SeqCst), 0, "closed twice");
        it.cell.free();
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.ready.lock().unwrap().stop = true;
            self.something.notify_all();
        }
    }

    /// The accept loop begins a drain and sweeps the table.
    pub fn drain(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for slot in 0..self.clients.len() {
            self.schedule.call(self, slot as u32);
        }
    }

    /// The peer sends a message.
    pub fn send(&self, client: usize) {
        let token = {
            let mut socket = self.clients[client].socket.lock().unwrap();
            socket.unread += 1;
            socket.token
        };
        self.edge(token, Events::READ);
    }

    /// The peer ends its stream.
    pub fn end(&self, client: usize) {
        let token = {
            let mut socket = self.clients[client].socket.lock().unwrap();
            socket.ended = true;
            socket.token
        };
        self.edge(token, Events::READ.and(Events::END));
    }

    /// The kernel reports an edge, if the socket is registered, to one waiter.
    fn edge(&self, token: Option<Token>, events: Events) {
        let Some(token) = token else {
            return;
        };
        let mut ready = self.ready.lock().unwrap();
        match ready.edges.iter_mut().find(|(known, _)| *known == token) {
            Some((_, noted)) => *noted = noted.and(events),
            None => {
                ready.edges.push((token, events));
                self.something.notify_one();
            }
        }
    }

    pub fn work(&self) {
        self.work_until_stopped(usize::MAX);
    }

    /// One message a turn, then the queue's tail.
    pub fn work_in_small_turns(&self) {
        self.work_until_stopped(1);
    }

    fn work_until_stopped(&self, messages_a_turn: usize) {
        let mut signals = Vec::new();
        loop {
            match self.next(&mut signals) {
                Next::Popped(job) | Next::Polled(Some(job)) => self.serve(job, messages_a_turn),
                Next::Polled(None) if signals.contains(&Signal::Stop) => return,
                Next::Polled(None) => {}
            }
        }
    }

    /// A worker that is told to leave while it waits.
    pub fn look_once_and_retire(&self) {
        let mut signals = Vec::new();
        match self.next(&mut signals) {
            Next::Popped(job) | Next::Polled(Some(job)) => self.serve(job, usize::MAX),
            Next::Polled(None) => {}
        }
        self.schedule.announce(self);
    }

    fn serve(&self, Job { token, mut events, .. }: Job<()>, messages: usize) {
        let it = &self.clients[token.slot as usize];
        loop {
            it.socket.lock().unwrap().hung_up |= events.meets(Events::END);
            let stopping = self.stopping.load(Ordering::SeqCst);
            let (left, over) = it.touched.with_mut(|_| self.turn(it, token, messages, stopping));
            if over {
                self.close(it);
                return;
            }
            if left {
                it.cell.requeue();
                self.schedule.submit(self, token);
                return;
            }
            match it.cell.park(Wants::Input) {
                Ok(()) => return,
                Err(more) => events = more,
            }
        }
    }

    /// Registers, reads, counts. Says whether input is left and whether the connection is over.
    fn turn(&self, it: &Client, token: Token, messages: usize, stopping: bool) -> (bool, bool) {
        let (registers, pending) = {
            let mut socket = it.socket.lock().unwrap();
            let registers = socket.token.replace(token).is_none();
            let unread = (socket.unread > 0).then_some(Events::READ);
            let pending = if socket.ended { Some(Events::READ.and(Events::END)) } else { unread };
            (registers, pending)
        };
        if let Some(events) = pending.filter(|_| registers) {
            // As epoll_ctl does for what is there already.
            self.edge(Some(token), events);
        }
        let mut socket = it.socket.lock().unwrap();
        let served = socket.unread.min(messages);
        socket.unread -= served;
        it.served.fetch_add(served, Ordering::SeqCst);
        let left = socket.unread > 0;
        // A read that brought something has not met the end behind it.
        let met_end = socket.ended && (socket.hung_up || served == 0);
        (left, !left && (met_end || stopping))
    }

    pub fn check_all_closed(&self, sends: usize) {
        for it in &self.clients {
            assert_eq!(it.closed.load(Ordering::SeqCst), 1);
            assert_eq!(it.served.load(Ordering::SeqCst), sends, "a message was lost or repeated");
        }
        assert!(self.queue.lock().unwrap().is_empty());
    }
}

impl<R: Rules> Floor for World<R> {
    const SECOND_LOOK: bool = R::SECOND_LOOK;

    type Stamp = ();

    fn stamp(&self) {}

    fn pop(&self) -> Option<(Token, ())> {
        self.queue.lock().unwrap().pop_front().map(|token| (token, ()))
    }

    fn push(&self, token: Token, (): ()) {
        let mut queue = self.queue.lock().unwrap();
        assert!(!queue.contains(&token), "a connection is in the queue twice");
        queue.push_back(token);
    }

    fn has_work(&self) -> bool {
        !self.queue.lock().unwrap().is_empty()
    }

    fn cell(&self, slot: u32) -> &Cell {
        &self.clients[slot as usize].cell
    }

    fn look(&self, signals: &mut Vec<Signal>) {
        self.poll(false, signals);
    }

    fn wake(&self) {
        let mut ready = self.ready.lock().unwrap();
        if !std::mem::replace(&mut ready.wake, true) {
            self.something.notify_one();
        }
    }

    fn saturated(&self) {}
}

impl<R: Rules> World<R> {
    /// The next connection, as a worker asks for it.
    fn next(&self, signals: &mut Vec<Signal>) -> Next<()> {
        self.schedule.next(self, signals, |signals| self.poll(true, signals))
    }

    /// Waits in the poller, or only looks.
    fn poll(&self, block: bool, signals: &mut Vec<Signal>) {
        signals.clear();
        let mut ready = self.ready.lock().unwrap();
        while block && ready.edges.is_empty() && !ready.wake && !ready.stop {
            ready = self.something.wait(ready).unwrap();
        }
        signals.extend(ready.edges.drain(..).map(|(token, events)| Signal::Ready(token, events)));
        if std::mem::take(&mut ready.wake) {
            signals.push(Signal::Wake);
        }
        if ready.stop {
            signals.push(Signal::Stop);
        }
    }
}
