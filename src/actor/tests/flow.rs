//! Back-pressure, ticks and the end of input, and where the time of a stage goes.

use tokio::time::Instant;

use super::*;

/// Takes one item each `pause`.
async fn collect_slowly(mut from: Mailbox<Item>, pause: Duration) -> Result<(), Closed> {
    while from.recv().await.is_some() {
        sleep(pause).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn back_pressure_is_bounded_and_counted() {
    let statistics = Statistics::default();
    let (sender, _taken) = rejections::<u64>();
    let mut assembly = Assembly::new(&statistics, sender);
    let (to_worker, input) = mailbox(4);
    let (to_sink, sink) = mailbox(3);
    let sink_gauge = to_sink.clone();
    let source_gauge = to_worker.clone();
    let worker =
        Worker { plan: |_| Plan { job_ms: 1, ..Plan::default() }, side_by_side: SideBySide::default() };
    let handle = assembly.stage(worker, input, to_sink, 2);
    assembly.task("source", |_| send_all(100, to_worker));
    assembly.task("sink", |_| collect_slowly(sink, ms(100)));
    let run = tokio::spawn(async move { assembly.run(&CancellationToken::new()).await });
    sleep(ms(5000)).await;
    let (queue, snapshot) = (sink_gauge.snapshot(), handle.snapshot());
    assert_eq!((queue.capacity, queue.length, queue.length_max), (3, 3, 3));
    // taken by the sink, in its mailbox, in the four places, in the call that waits for one
    assert!(snapshot.n_in <= 51 + 3 + 4 + 1, "{}", snapshot.n_in);
    assert!(snapshot.waiting_output_s > 4.5, "{snapshot:?}");
    drop((sink_gauge, source_gauge));
    assert_eq!(run.await.unwrap(), Ok(()));
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.n_out, snapshot.queue.length, snapshot.queue.length_max), (100, 0, 4));
    // all but those that found room at the beginning had to wait
    assert!(snapshot.queue.n_waits >= 80, "{:?}", snapshot.queue);
    assert!((8.0..10.0).contains(&snapshot.queue.wait_s), "{:?}", snapshot.queue);
}

/// Keeps what comes, sends it on by the clock and at the end.
struct Keeper {
    kept: Vec<Item>,
    n_ticks: Arc<AtomicUsize>,
}

impl Stage for Keeper {
    const NAME: &'static str = "keeper";
    type Input = Item;
    type Output = Item;

    async fn process(&mut self, item: Item, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        if item.0 == 3 {
            return out.reject(item.0, "not this one").await;
        }
        self.kept.push(item);
        Ok(())
    }

    fn tick_period(&self) -> Option<Duration> {
        Some(ms(100))
    }

    async fn tick(&mut self, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        self.n_ticks.fetch_add(1, Ordering::SeqCst);
        if self.kept.len() > 2 {
            out.send(self.kept.remove(0)).await?;
        }
        Ok(())
    }

    async fn finish(&mut self, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        for item in self.kept.drain(..) {
            out.send_when(item.0, async move { Ok(Some(item)) }).await?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_works_by_the_clock_and_finishes_at_the_end() {
    let (sender, mut taken) = rejections::<u64>();
    let mut assembly = Assembly::new(&Statistics::default(), sender);
    let (to_keeper, input) = mailbox(8);
    let (to_sink, sink) = mailbox(1);
    let (n_ticks, outputs) = (Arc::new(AtomicUsize::new(0)), Shared::default());
    assembly.stage(Keeper { kept: Vec::new(), n_ticks: Arc::clone(&n_ticks) }, input, to_sink, 1);
    assembly.task("sink", |_| collect(sink, Arc::clone(&outputs)));
    assembly.task("source", |_| async move {
        for n in 0..6 {
            to_keeper.send(Item(n)).await?;
        }
        sleep(ms(250)).await;
        Ok::<(), Closed>(())
    });
    assert_eq!(assembly.run(&CancellationToken::new()).await, Ok(()));
    assert_eq!(n_ticks.load(Ordering::SeqCst), 2);
    assert_eq!(*lock(&outputs), [0, 1, 2, 4, 5].map(Item));
    assert_eq!(taken.recv().await.map(|rejection| rejection.ticket), Some(3));
}

/// Checks that the three states cover the whole life, and how it divides.
fn check_times(snapshot: &StageSnapshot, [busy_s, input_s, output_s]: [f64; 3]) {
    let covered = snapshot.busy_s + snapshot.waiting_input_s + snapshot.waiting_output_s;
    assert!(snapshot.life_s > 0.0 && covered >= 0.95 * snapshot.life_s, "{snapshot:?}");
    assert!((covered - snapshot.life_s).abs() < 1e-6, "{snapshot:?}");
    let close = |found: f64, expected: f64| (found - expected).abs() <= 0.02 * snapshot.life_s;
    assert!(close(snapshot.busy_s, busy_s), "busy: {snapshot:?}");
    assert!(close(snapshot.waiting_input_s, input_s), "input: {snapshot:?}");
    assert!(close(snapshot.waiting_output_s, output_s), "output: {snapshot:?}");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_stage_is_accounted_for() {
    // (pause of the source, job, pause of the sink) for 100 items one by one, and what follows for the worker
    let cases = [
        ([100, 40, 0], [4.0, 6.0, 0.0]),
        ([0, 40, 0], [4.0, 0.0, 0.0]),
        // until mailbox and places are full there is work to do, from then on the sink sets the pace
        ([0, 10, 100], [0.04, 0.0, 9.67]),
    ];
    for ([source_ms, job_ms, sink_ms], expected) in cases {
        let statistics = Statistics::default();
        let (sender, _taken) = rejections::<u64>();
        let mut assembly = Assembly::new(&statistics, sender);
        let (to_worker, input) = mailbox(2);
        let (to_sink, sink) = mailbox(2);
        let plan = move |_| Plan { job_ms, ..Plan::default() };
        let began_at = Instant::now();
        assembly.stage(Worker { plan, side_by_side: SideBySide::default() }, input, to_sink, 1);
        assembly.task("source", |_| async move {
            for n in 0..100 {
                to_worker.send(Item(n)).await?;
                sleep(ms(source_ms)).await;
            }
            Ok::<(), Closed>(())
        });
        assembly.task("sink", |_| collect_slowly(sink, ms(sink_ms)));
        assert_eq!(assembly.run(&CancellationToken::new()).await, Ok(()));
        let snapshots = statistics.snapshot();
        let worker = snapshots.iter().find(|snapshot| snapshot.name == "worker").unwrap();
        check_times(worker, expected);
        assert!(worker.life_s >= 0.95 * began_at.elapsed().as_secs_f64());
        assert!((worker.work_s - 0.1 * job_ms as f64).abs() < 0.3, "{worker:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tee_in_the_line_shows_what_passes() {
    let (sender, _taken) = rejections::<u64>();
    let mut assembly = Assembly::new(&Statistics::default(), sender);
    let (to_tee, tee_input) = mailbox(2);
    let (to_sink, sink) = mailbox(2);
    let outputs = Shared::default();
    let tee = Tee::new("live view");
    let mut all = tee.branch(BranchPolicy::DropNewest, 100);
    let mut few = tee.branch(BranchPolicy::DropNewest, 3);
    assembly.tee(&tee, |Item(n)| format!("#{n}"), tee_input, to_sink);
    assembly.task("source", |_| send_all(10, to_tee));
    assembly.task("sink", |_| collect(sink, Arc::clone(&outputs)));
    assert_eq!(assembly.run(&CancellationToken::new()).await, Ok(()));
    assert_eq!(lock(&outputs).len(), 10);
    for n in 0..10 {
        assert_eq!(all.try_recv(), Some(format!("#{n}")));
        assert_eq!(few.try_recv(), (n < 3).then(|| format!("#{n}")));
    }
    assert_eq!(tee.n_dropped(), 7);
}
