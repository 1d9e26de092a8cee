//! One snapshot of a state, written in one place and read by anybody.

use std::sync::Arc;

use tokio::sync::watch;

/// The place where a state is changed; readers see whole states only.
#[derive(Debug)]
pub struct State<T>(watch::Sender<Arc<T>>);

impl<T> State<T> {
    /// Makes a state.
    pub fn new(value: T) -> Self {
        Self(watch::Sender::new(Arc::new(value)))
    }

    /// Replaces the state.
    pub fn set(&self, value: T) {
        self.0.send_replace(Arc::new(value));
    }

    /// Changes the state; readers that hold the one before keep it.
    pub fn update(&self, change: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        self.0.send_modify(|value| change(Arc::make_mut(value)));
    }

    /// Returns the state as it stands.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// Makes a reader; it need not read every state, the last one counts.
    pub fn reader(&self) -> StateReader<T> {
        StateReader(self.0.subscribe())
    }
}

/// Reads a state.
#[derive(Debug)]
pub struct StateReader<T>(watch::Receiver<Arc<T>>);

impl<T> Clone for StateReader<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> StateReader<T> {
    /// Returns the state as it stands, also after its owner has gone.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits for a state that this reader has not seen here; `None` when the owner has gone.
    pub async fn changed(&mut self) -> Option<Arc<T>> {
        self.0.changed().await.ok()?;
        Some(Arc::clone(&self.0.borrow_and_update()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_see_the_last_state_and_the_end() {
        let state = State::new(1);
        let mut reader = state.reader();
        assert_eq!(*reader.current(), 1);
        let kept = reader.current();
        state.update(|n| *n += 1);
        state.set(*state.current() * 10);
        assert_eq!(reader.changed().await, Some(Arc::new(20)));
        assert_eq!(*kept, 1, "a state that is held does not change");
        drop(state);
        assert_eq!(reader.changed().await, None);
        assert_eq!(*reader.clone().current(), 20);
    }
}
