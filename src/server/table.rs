//! The connection table: a slot for every connection there may be, sized once.
//!
//! The accept loop fills slots, whoever closes a connection frees its slot. What a slot's cell
//! says decides who may touch the connection in it.

use super::clock::NEVER;
use super::connection::Connection;
use super::due::Due;
use super::schedule::{Cell, Token};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// One place for a connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) cell: Cell,
    pub(super) due: Due,
    /// Locked by the connection's owner only, so never waited for: it is what lets safe Rust
    /// believe the cell.
    connection: Mutex<Option<Box<Connection>>>,
}

impl Slot {
    /// The connection, for its owner.
    ///
    /// # Panics
    ///
    /// If somebody else has it: the cell's protocol is broken.
    pub(super) fn connection(&self) -> MutexGuard<'_, Option<Box<Connection>>> {
        match self.connection.try_lock() {
            Ok(connection) => connection,
            // A worker died in its turn; the connection is closed by who comes here.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("a connection has two owners"),
        }
    }
}

/// The slots that hold no connection: those below `untouched` that were given back, and all from
/// there on. A slot is used only when no used one is free, so a large table costs little memory
/// until it is full.
#[derive(Debug)]
struct Vacant {
    given_back: Vec<u32>,
    untouched: u32,
}

impl Vacant {
    fn taken(&self) -> usize {
        self.untouched as usize - self.given_back.len()
    }
}

/// All slots.
#[derive(Debug)]
pub(super) struct Table {
    slots: Box<[Slot]>,
    vacant: Mutex<Vacant>,
}

impl Table {
    pub(super) fn new(size: usize) -> Self {
        let slot = |_| Slot { cell: Cell::new(), due: Due::new(), connection: Mutex::new(None) };
        Self {
            slots: (0..size).map(slot).collect(),
            vacant: Mutex::new(Vacant { given_back: Vec::new(), untouched: 0 }),
        }
    }

    /// How many connections have room.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    /// Every slot that ever held a connection, with its number.
    pub(super) fn touched(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..).zip(&self.slots[..self.vacant().untouched as usize])
    }

    /// Puts a connection into a free slot, in phase `Queued`, or gives it back if there is none
    /// or `limit` are taken. The caller pushes the token.
    pub(super) fn admit(
        &self,
        connection: Box<Connection>,
        limit: usize,
    ) -> Result<Token, Box<Connection>> {
        let slot = {
            let mut vacant = self.vacant();
            // A reload may have made the limit smaller than the table.
            if vacant.taken() >= limit {
                return Err(connection);
            }
            match vacant.given_back.pop() {
                Some(slot) => slot,
                None if (vacant.untouched as usize) < self.slots.len() => {
                    vacant.untouched += 1;
                    vacant.untouched - 1
                }
                None => return Err(connection),
            }
        };
        let place = self.slot(slot);
        *place.connection() = Some(connection);
        Ok(Token { slot, generation: place.cell.admit() })
    }

    /// Takes a connection out of its slot, for good; by its owner, in phase `Serving`.
    pub(super) fn release(&self, slot: u32) -> Option<Box<Connection>> {
        let place = self.slot(slot);
        let connection = place.connection().take();
        place.due.set(NEVER);
        place.cell.free();
        self.vacant().given_back.push(slot);
        connection
    }

    /// Connections that hold a slot.
    pub(super) fn open(&self) -> usize {
        self.vacant().taken()
    }

    fn vacant(&self) -> MutexGuard<'_, Vacant> {
        // Nothing between its lock and its unlock can panic half-way.
        self.vacant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
