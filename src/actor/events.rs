//! The event bus: bounded and lossy for those who are slow, but they learn how much they have missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::lock;

/// An event with its number.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<E> {
    /// Counts up by one with each event, from 1.
    pub seq: u64,
    /// What happened.
    pub event: Arc<E>,
}

impl<E> Clone for Event<E> {
    fn clone(&self) -> Self {
        Self { seq: self.seq, event: Arc::clone(&self.event) }
    }
}

/// What a subscriber gets.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<E> {
    /// How many events before this one the subscriber has missed since the last that it got.
    pub n_missed: u64,
    /// The event.
    pub event: Event<E>,
}

/// Keeps the last events for any number of subscribers; clones are the same bus.
#[derive(Debug)]
pub struct EventBus<E>(Arc<BusInner<E>>);

#[derive(Debug)]
struct BusInner<E> {
    ring: Arc<Ring<E>>,
    /// The number of the next event; dropped with the last bus, which ends the subscribers.
    next_seq: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring<E> {
    capacity: usize,
    events: Mutex<VecDeque<Event<E>>>,
}

impl<E> Clone for EventBus<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> EventBus<E> {
    /// Makes a bus that keeps the last `capacity` (at least 1) events.
    pub fn new(capacity: usize) -> Self {
        let ring = Arc::new(Ring { capacity: capacity.max(1), events: Mutex::default() });
        Self(Arc::new(BusInner { ring, next_seq: watch::Sender::new(1) }))
    }

    /// Publishes an event, pushing out the oldest when the bus is full; returns its number. Never waits.
    pub fn publish(&self, event: E) -> u64 {
        let mut events = lock(&self.0.ring.events);
        let seq = *self.0.next_seq.borrow();
        if events.len() == self.0.ring.capacity {
            events.pop_front();
        }
        events.push_back(Event { seq, event: Arc::new(event) });
        // within the lock, so that numbers and ring agree
        self.0.next_seq.send_replace(seq + 1);
        seq
    }

    /// Subscribes to all events from now on.
    pub fn subscribe(&self) -> Subscriber<E> {
        self.subscribe_from(*self.0.next_seq.borrow())
    }

    /// Subscribes to all events from number `seq` on: one more than the last that was seen.
    ///
    /// Those no longer kept are reported as missed. A number that this bus has not reached comes from an earlier
    /// process: the subscriber then gets all that is kept.
    pub fn subscribe_from(&self, seq: u64) -> Subscriber<E> {
        let next_seq = self.0.next_seq.subscribe();
        let is_from_another_life = seq == 0 || seq > *next_seq.borrow();
        let wanted = if is_from_another_life { None } else { Some(seq) };
        Subscriber { ring: Arc::clone(&self.0.ring), next_seq, wanted }
    }
}

/// Reads the events in order, at its own pace.
#[derive(Debug)]
pub struct Subscriber<E> {
    ring: Arc<Ring<E>>,
    next_seq: watch::Receiver<u64>,
    /// The number wanted next; `None` is the oldest there is.
    wanted: Option<u64>,
}

impl<E> Subscriber<E> {
    /// Waits for the next event; `None` when the bus has gone and nothing is left. Loses nothing when dropped while
    /// waiting.
    pub async fn recv(&mut self) -> Option<Received<E>> {
        loop {
            self.next_seq.mark_unchanged();
            if let Some(received) = self.try_recv() {
                return Some(received);
            }
            if self.next_seq.changed().await.is_err() {
                return self.try_recv();
            }
        }
    }

    /// Takes the next event if there is one now.
    pub fn try_recv(&mut self) -> Option<Received<E>> {
        let events = lock(&self.ring.events);
        let oldest = events.front()?.seq;
        let wanted = self.wanted.unwrap_or(oldest);
        let seq = wanted.max(oldest);
        let index = usize::try_from(seq - oldest).ok()?;
        let event = events.get(index)?.clone();
        self.wanted = Some(seq + 1);
        Some(Received { n_missed: seq - wanted, event })
    }
}
