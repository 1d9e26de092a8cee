//! Whole lines under a stopped clock. One stage, the [`Worker`], does to each item what the test plans for it.

mod failures;
mod flow;
mod ordering;
mod supervision;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item(u64);

impl Traceable for Item {
    type Ticket = u64;

    fn ticket(&self) -> u64 {
        self.0
    }
}

/// What the worker does to an item.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    /// Duration of the job.
    job_ms: u64,
    deed: Deed,
}

#[derive(Debug, Clone, Copy, Default)]
enum Deed {
    #[default]
    Send,
    /// Sends without a job, after `job_ms` in the call itself.
    SendInCall,
    Nothing,
    RejectInJob,
    RejectInCall,
    PanicInJob,
    PanicInCall,
    FatalInJob,
    FatalInCall,
}

/// Counts how many jobs run side by side.
#[derive(Debug, Clone, Default)]
struct SideBySide(Arc<(AtomicUsize, AtomicUsize)>);

impl SideBySide {
    fn enter(&self) -> Leave {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        Leave(self.clone())
    }

    fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    /// The most since the last call.
    fn take_max(&self) -> usize {
        self.0.1.swap(self.now(), Ordering::SeqCst)
    }
}

struct Leave(SideBySide);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Worker<P> {
    plan: P,
    side_by_side: SideBySide,
}

impl<P: Fn(u64) -> Plan + Send + 'static> Stage for Worker<P> {
    const NAME: &'static str = "worker";
    type Input = Item;
    type Output = Item;

    async fn process(&mut self, item: Item, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        let Plan { job_ms, deed } = (self.plan)(item.0);
        let job_time = Duration::from_millis(job_ms);
        out.counters().add_bytes(10);
        match deed {
            Deed::SendInCall => {
                sleep(job_time).await;
                return out.send(item).await;
            }
            Deed::RejectInCall => return Err(StageError::item("planned in call")),
            Deed::FatalInCall => return Err(StageError::fatal("planned in call")),
            Deed::PanicInCall => panic!("planned in call"),
            _ => {}
        }
        let inside = self.side_by_side.clone();
        out.send_when(item.0, async move {
            let _leave = inside.enter();
            sleep(job_time).await;
            match deed {
                Deed::Nothing => Ok(None),
                Deed::RejectInJob => Err(StageError::item("planned in job")),
                Deed::FatalInJob => Err(StageError::fatal("planned in job")),
                Deed::PanicInJob => panic!("planned in job"),
                _ => Ok(Some(item)),
            }
        })
        .await
    }
}

/// What came out of a line.
#[derive(Debug)]
struct Run {
    outputs: Vec<u64>,
    rejections: Vec<Rejection<u64>>,
    result: Result<(), AssemblyError>,
    worker: StageSnapshot,
    side_by_side: usize,
}

type Shared<T> = Arc<Mutex<Vec<T>>>;

/// Puts `n_items` through a worker.
async fn run_worker(n_items: u64, n_permits: usize, plan: impl Fn(u64) -> Plan + Send + 'static) -> Run {
    let statistics = Statistics::default();
    let (outputs, rejected) = (Shared::default(), Shared::default());
    let side_by_side = SideBySide::default();
    let (sender, taken) = rejections();
    let mut assembly = Assembly::new(&statistics, sender);
    let (to_worker, worker_input) = mailbox(4);
    let (to_sink, sink_input) = mailbox(4);
    let worker = Worker { plan, side_by_side: side_by_side.clone() };
    let worker = assembly.stage(worker, worker_input, to_sink, n_permits);
    assembly.task("source", |_| send_all(n_items, to_worker));
    assembly.task("sink", |_| collect(sink_input, Arc::clone(&outputs)));
    assembly.task("taker", |_| collect_rejections(taken, Arc::clone(&rejected)));
    let result = assembly.run(&CancellationToken::new()).await;
    Run {
        outputs: lock(&outputs).iter().map(|Item(n)| *n).collect(),
        rejections: lock(&rejected).clone(),
        result,
        worker: worker.snapshot(),
        side_by_side: side_by_side.take_max(),
    }
}

async fn send_all(n_items: u64, to: MailboxSender<Item>) -> Result<(), Closed> {
    for n in 0..n_items {
        to.send(Item(n)).await?;
    }
    Ok(())
}

async fn collect<T>(mut from: Mailbox<T>, into: Shared<T>) -> Result<(), Closed> {
    while let Some(value) = from.recv().await {
        lock(&into).push(value);
    }
    Ok(())
}

async fn collect_rejections(mut from: Rejections<u64>, into: Shared<Rejection<u64>>) -> Result<(), Closed> {
    while let Some(rejection) = from.recv().await {
        lock(&into).push(rejection);
    }
    Ok(())
}

/// A number below `limit` that looks random.
fn scrambled(n: u64, limit: u64) -> u64 {
    (n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % limit
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
