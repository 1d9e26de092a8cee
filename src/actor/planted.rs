//! Faults that tests plant in stages; not part of the program.

use std::fmt::Debug;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;

/// Where in a stage the fault lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the call that takes the item in.
    Call,
    /// In the job that it is handed to.
    Job,
}

/// What happens to an item there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It panics.
    Panic,
    /// It never ends.
    Hang,
    /// It takes this much longer.
    Slow(Duration),
}

/// A fault, until it is dropped.
pub(crate) struct Planted(Arc<Fault>);

struct Fault {
    stage: &'static str,
    place: Place,
    /// What the text of a ticket must hold.
    item: String,
    deed: Deed,
    n_times: usize,
    n_met: AtomicUsize,
}

static FAULTS: Mutex<Vec<Arc<Fault>>> = Mutex::new(Vec::new());

/// Plants a fault that the first `n_times` items meet whose tickets say `item`.
pub(crate) fn plant(
    (stage, place): (&'static str, Place),
    item: &str,
    deed: Deed,
    n_times: usize,
) -> Planted {
    let n_met = AtomicUsize::new(0);
    let fault = Arc::new(Fault { stage, place, item: item.to_owned(), deed, n_times, n_met });
    lock(&FAULTS).push(Arc::clone(&fault));
    Planted(fault)
}

impl Planted {
    /// How often it was met.
    pub(crate) fn n_met(&self) -> usize {
        self.0.n_met.load(Ordering::SeqCst).min(self.0.n_times)
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        lock(&FAULTS).retain(|fault| !Arc::ptr_eq(fault, &self.0));
    }
}

/// The same future behind the faults that lie in its way.
pub(super) async fn around<F: Future>(
    (stage, place): (&'static str, Place),
    ticket: impl Debug,
    future: F,
) -> F::Output {
    for deed in met(stage, place, &ticket) {
        match deed {
            Deed::Panic => panic!("planted in the {stage}"),
            Deed::Hang => pending().await,
            Deed::Slow(duration) => tokio::time::sleep(duration).await,
        }
    }
    future.await
}

fn met(stage: &str, place: Place, ticket: &impl Debug) -> Vec<Deed> {
    let faults = lock(&FAULTS);
    let here = faults.iter().filter(|fault| fault.stage == stage && fault.place == place);
    let of_item = here.filter(|fault| format!("{ticket:?}").contains(&fault.item));
    of_item
        .filter(|fault| fault.n_met.fetch_add(1, Ordering::SeqCst) < fault.n_times)
        .map(|fault| fault.deed)
        .collect()
}
