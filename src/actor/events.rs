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

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(subscriber: &mut Subscriber<&str>) -> Option<(u64, u64, &'static str)> {
        let Received { n_missed, event } = subscriber.recv().await?;
        // the events of these tests are literals
        Some((n_missed, event.seq, ["a", "b", "c", "d", "e"].into_iter().find(|text| *text == *event.event)?))
    }

    #[tokio::test]
    async fn a_slow_subscriber_learns_how_much_it_has_missed() {
        let bus = EventBus::new(3);
        let mut early = bus.subscribe();
        assert_eq!(early.try_recv(), None);
        assert_eq!((bus.publish("a"), bus.publish("b")), (1, 2));
        assert_eq!(next(&mut early).await, Some((0, 1, "a")));
        let mut late = bus.subscribe();
        for event in ["c", "d", "e"] {
            bus.publish(event);
        }
        assert_eq!(next(&mut early).await, Some((1, 3, "c")));
        assert_eq!(next(&mut early).await, Some((0, 4, "d")));
        assert_eq!(next(&mut late).await, Some((0, 3, "c")));
        drop(bus);
        assert_eq!(next(&mut early).await, Some((0, 5, "e")));
        assert_eq!(next(&mut early).await, None);
    }

    #[tokio::test]
    async fn a_subscriber_resumes_where_it_was() {
        let bus = EventBus::new(3);
        for event in ["a", "b", "c", "d", "e"] {
            bus.publish(event);
        }
        assert_eq!(next(&mut bus.subscribe_from(4)).await, Some((0, 4, "d")));
        assert_eq!(next(&mut bus.subscribe_from(2)).await, Some((1, 3, "c")));
        assert_eq!(bus.subscribe_from(6).try_recv(), None, "it has seen everything");
        // numbers of an earlier process, and "from the beginning"
        assert_eq!(next(&mut bus.subscribe_from(7000)).await, Some((0, 3, "c")));
        assert_eq!(next(&mut bus.subscribe_from(0)).await, Some((0, 3, "c")));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_lost_between_looking_and_waiting() {
        let bus = EventBus::new(100_000);
        let mut subscriber = bus.subscribe();
        let reader = tokio::spawn(async move {
            let mut seqs = Vec::new();
            while let Some(received) = subscriber.recv().await {
                assert_eq!(received.n_missed, 0);
                seqs.push(received.event.seq);
            }
            seqs
        });
        let writer = std::thread::spawn(move || {
            for n in 0..20_000 {
                bus.publish(n);
            }
        });
        writer.join().unwrap();
        assert_eq!(reader.await.unwrap(), (1..=20_000).collect::<Vec<_>>());
    }
}
