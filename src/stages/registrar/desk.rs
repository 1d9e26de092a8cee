//! Where pairs are tried: centroids from whoever has them, matching on the CPU pool, results in the order of the
//! partners.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use moka::sync::Cache;
use tokio::task::JoinSet;

use super::Settings;
use super::fields::Partner;
use super::matching::{Outcome, register, register_near, stage_figures};
use crate::actor::{CpuPool, IoPool, JobError, StageCounters, StageError};
use crate::analysis::registration::{Expected, Field};
use crate::analysis::segmentation::Centroids;
use crate::store::{FOUND_BY_WELL, Found, LedgerError, LedgerReader, PixelsOf, Registration, Side, View};

/// Memory for fields that were made ready for matching, in bytes.
const FIELDS_MAX_BYTES: u64 = 12 << 20;
/// Memory for results, in bytes; copies of a field ask for them again.
const OUTCOMES_MAX_BYTES: u64 = 4 << 20;

/// The word in reports for a registration that the points of the two fields alone gave.
const FOUND_BY_POINTS: &str = "descriptors";

/// What the tries of all planes share; cheap to clone.
#[derive(Clone)]
pub(super) struct Desk {
    reader: Arc<Mutex<LedgerReader>>,
    cpu: CpuPool,
    io: IoPool,
    settings: Arc<Settings>,
    fields: Cache<PixelsOf, Arc<Field>>,
    outcomes: Cache<OutcomeKey, Arc<Outcome>>,
}

/// A field that is to be tried with its partners.
pub(super) struct Own {
    pub(super) key: PixelsOf,
    pub(super) view: View,
    pub(super) centroids: Arc<Centroids>,
}

/// What an outcome depends on: the pixels of both fields, and the sizes of these pixels.
type OutcomeKey = ([[u8; 32]; 2], [Option<u64>; 2]);

/// A partner's field, or why it has none.
type MaybeReady = Result<Arc<Field>, String>;

impl Desk {
    pub(super) fn new(reader: LedgerReader, (cpu, io): (CpuPool, IoPool), settings: Settings) -> Self {
        let fields = Cache::builder().max_capacity(FIELDS_MAX_BYTES).weigher(weigh(field_bytes));
        let outcomes = Cache::builder().max_capacity(OUTCOMES_MAX_BYTES).weigher(weigh(Outcome::size_bytes));
        let (fields, outcomes) = (fields.build(), outcomes.build());
        let (reader, settings) = (Arc::new(Mutex::new(reader)), Arc::new(settings));
        Self { reader, cpu, io, settings, fields, outcomes }
    }

    /// Tries a field with each of its partners, as many at once as there are threads. A partner whose pixels have
    /// changed meanwhile is left out: it will come again.
    pub(super) async fn try_all(
        &self,
        own: Own,
        partners: Vec<Partner>,
        counters: &Arc<StageCounters>,
    ) -> Result<Vec<Registration>, StageError> {
        let own = Arc::new(own);
        let mut tried = Vec::with_capacity(partners.len());
        let mut trying = JoinSet::new();
        for (position, partner) in partners.into_iter().enumerate() {
            while trying.len() >= self.cpu.n_threads() {
                tried.extend(next(&mut trying, counters).await?);
            }
            let (desk, own) = (self.clone(), Arc::clone(&own));
            trying.spawn(async move {
                let registration = desk.try_one(&own, &partner).await?;
                Ok(registration.map(|registration| (position, registration)))
            });
        }
        while !trying.is_empty() {
            tried.extend(next(&mut trying, counters).await?);
        }
        tried.sort_unstable_by_key(|(position, _)| *position);
        Ok(tried.into_iter().map(|(_, registration)| registration).collect())
    }

    async fn try_one(&self, own: &Own, partner: &Partner) -> Result<Option<Registration>, StageError> {
        let side = partner.pairing.side;
        let views = in_order(side, (own.view, partner.view));
        let key = outcome_key(in_order(side, (own.key, partner.key)), &views);
        let outcome = match self.outcomes.get(&key) {
            Some(known) => known,
            None => {
                let own_ready = self.ready(&own.key, Arc::downgrade(&own.centroids)).await?;
                let partner_ready = self.ready(&partner.key, partner.centroids.clone()).await?;
                let (Some(own_ready), Some(partner_ready)) = (own_ready, partner_ready) else {
                    return Ok(None);
                };
                let outcome =
                    Arc::new(self.outcome(in_order(side, (own_ready, partner_ready)), views).await?);
                self.outcomes.insert(key, Arc::clone(&outcome));
                outcome
            }
        };
        let mut result = outcome.result.clone();
        result.insert("paired_by".into(), partner.pairing.by.name().into());
        result.extend(stage_figures(outcome.reference_from_moving.as_ref(), (&views.0, &views.1)));
        let is_accepted = outcome.reference_from_moving.is_some();
        if is_accepted {
            result.insert("found_by".into(), FOUND_BY_POINTS.into());
        }
        let pairs = outcome.pairs.clone();
        Ok(Some(Registration { side, partner: partner.key, is_accepted, result, pairs }))
    }

    /// Looks for a field where its well says that it lies; what is told of it where it is there, but for how the two were
    /// paired. A panic of the method is as if it were not.
    pub(super) async fn find_near(
        &self,
        (moving, reference): (&PixelsOf, &PixelsOf),
        views: (View, View),
        expected: Expected,
    ) -> Result<Option<Found>, StageError> {
        let ready = (self.ready(moving, Weak::new()).await?, self.ready(reference, Weak::new()).await?);
        let (Some(Ok(moving)), Some(Ok(reference))) = ready else { return Ok(None) };
        let settings = Arc::clone(&self.settings);
        let work = move || register_near((&moving, &reference), &views.1, &expected, &settings.method);
        let outcome = match self.cpu.run(move |_| work()).await {
            Err(JobError::Panicked(message)) => {
                tracing::warn!(message, "a field could not be looked for where its well says that it lies");
                return Ok(None);
            }
            other => other?,
        };
        let Outcome { reference_from_moving: Some(transform), mut result, pairs } = outcome else {
            return Ok(None);
        };
        result.insert("found_by".into(), FOUND_BY_WELL.into());
        result.extend(stage_figures(Some(&transform), (&views.0, &views.1)));
        Ok(Some(Found { result, pairs }))
    }

    /// Reads from the ledger, beside the runtime's workers.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&LedgerReader) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, StageError> {
        let reader = Arc::clone(&self.reader);
        let read = move || read(&reader.lock().unwrap_or_else(PoisonError::into_inner));
        self.io.run(move |_| read()).await?.map_err(StageError::fatal)
    }

    /// A panic of the method is the outcome of this pair alone.
    async fn outcome(
        &self,
        ready: (MaybeReady, MaybeReady),
        views: (View, View),
    ) -> Result<Outcome, StageError> {
        let (moving, reference) = match ready {
            (Ok(moving), Ok(reference)) => (moving, reference),
            (Err(reason), _) | (_, Err(reason)) => return Ok(Outcome::refused(reason, None)),
        };
        let settings = Arc::clone(&self.settings);
        let work = move || register((&moving, &reference), (&views.0, &views.1), &settings.method);
        match self.cpu.run(move |_| work()).await {
            Err(JobError::Panicked(message)) => {
                Ok(Outcome::refused(format!("a fault of scopewatch itself: {message}"), None))
            }
            other => Ok(other?),
        }
    }

    /// A field made ready: as it is remembered, or from the centroids at hand, or from the ledger. None where the
    /// ledger holds other pixels, or none.
    async fn ready(
        &self,
        key: &PixelsOf,
        at_hand: Weak<Centroids>,
    ) -> Result<Option<MaybeReady>, StageError> {
        let key = *key;
        if let Some(ready) = self.fields.get(&key) {
            return Ok(Some(Ok(ready)));
        }
        let centroids = match at_hand.upgrade() {
            Some(centroids) => centroids,
            None => match self.read(move |reader| reader.centroids_of(&key)).await? {
                Some(centroids) => Arc::new(centroids),
                None => return Ok(None),
            },
        };
        let ready = match self.cpu.run(move |_| Field::new(&centroids.to_f64())).await {
            Err(JobError::Panicked(message)) => Err(format!("a fault of scopewatch itself: {message}")),
            other => other?.map(Arc::new).map_err(|error| error.to_string()),
        };
        if let Ok(ready) = &ready {
            self.fields.insert(key, Arc::clone(ready));
        }
        Ok(Some(ready))
    }
}

/// Memory that a field made ready takes, in bytes, roughly: what is made of each of its points.
fn field_bytes(field: &Field) -> usize {
    const BYTES_PER_POINT: usize = 300;
    size_of::<Field>() + field.len() * BYTES_PER_POINT
}

/// Takes the result of one try.
async fn next(
    trying: &mut JoinSet<Result<Option<(usize, Registration)>, StageError>>,
    counters: &Arc<StageCounters>,
) -> Result<Option<(usize, Registration)>, StageError> {
    let Some(tried) = trying.join_next().await else { return Ok(None) };
    counters.progress();
    tried.map_err(StageError::fatal)?
}

/// What belongs to this plane and to its partner, as moving and reference.
fn in_order<T>(side: Side, (own, partner): (T, T)) -> (T, T) {
    match side {
        Side::Moving => (own, partner),
        Side::Reference => (partner, own),
    }
}

fn outcome_key((moving, reference): (PixelsOf, PixelsOf), views: &(View, View)) -> OutcomeKey {
    let pixel_size = |view: &View| view.pixel_size_um.map(f64::to_bits);
    ([moving.digest, reference.digest], [pixel_size(&views.0), pixel_size(&views.1)])
}

/// The weigher of a cache whose values know their size.
fn weigh<K, V>(size_bytes: fn(&V) -> usize) -> impl Fn(&K, &Arc<V>) -> u32 + Send + Sync + 'static
where
    K: 'static,
    V: 'static,
{
    move |_, value| u32::try_from(size_bytes(value)).unwrap_or(u32::MAX)
}
