//! Hangs, restarts and the ways to end.

use tokio::time::Instant;

use super::*;

const SETTINGS: SupervisorSettings = SupervisorSettings {
    hang_timeout: Duration::from_secs(10),
    backoff_first: Duration::from_secs(1),
    backoff_max: Duration::from_secs(5),
    restart_limit: 3,
    restart_window: Duration::from_secs(600),
    drain_timeout: Duration::from_secs(30),
};

const HOUR_MS: u64 = 3_600_000;

/// One generation: a source of one item each 100 ms until the drain or `n_items`, a worker, a sink with a pause.
#[derive(Clone)]
struct World {
    supervision: Supervision,
    outputs: Shared<Item>,
    n_items: u64,
    sink_pause: Duration,
}

impl World {
    fn new(n_items: u64) -> Self {
        Self { supervision: Supervision::default(), outputs: Shared::default(), n_items, sink_pause: ms(0) }
    }

    async fn generation<P>(self, generation: Generation, plan: P) -> Result<(), AssemblyError>
    where
        P: Fn(u64) -> Plan + Send + 'static,
    {
        let (sender, taken) = rejections::<u64>();
        let mut assembly = Assembly::new(&self.supervision.statistics, sender);
        let (to_worker, input) = mailbox(4);
        let (to_sink, mut sink) = mailbox(4);
        assembly.stage(Worker { plan, side_by_side: SideBySide::default() }, input, to_sink, 2);
        let drain = generation.drain.clone();
        assembly.task("source", |_| async move {
            for n in 0..self.n_items {
                to_worker.send(Item(n)).await?;
                tokio::select! {
                    () = drain.cancelled() => break,
                    () = sleep(ms(100)) => {}
                }
            }
            Ok::<(), Closed>(())
        });
        assembly.task("sink", |_| async move {
            while let Some(item) = sink.recv().await {
                lock(&self.outputs).push(item);
                sleep(self.sink_pause).await;
            }
            Ok::<(), Closed>(())
        });
        assembly.task("taker", |_| collect_rejections(taken, Shared::default()));
        assembly.run(&generation.abort).await
    }

    /// Supervises generations whose plan may depend on their number.
    async fn supervise(&self, plan: fn(u32, u64) -> Plan) -> Result<Outcome, SupervisorError> {
        let run = |generation: Generation| {
            let number = generation.number;
            self.clone().generation(generation, move |n| plan(number, n))
        };
        supervise(&SETTINGS, &self.supervision, run).await
    }

    fn worker(&self) -> StageSnapshot {
        let snapshots = self.supervision.statistics.snapshot();
        snapshots.into_iter().find(|snapshot| snapshot.name == "worker").unwrap()
    }

    fn status(&self) -> SupervisorStatus {
        (*self.supervision.status.current()).clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_hang_is_noticed_within_two_heartbeats_and_healed() {
    let world = World::new(20);
    let began_at = Instant::now();
    let outcome = world
        .supervise(|generation, n| Plan {
            job_ms: if generation == 1 && n == 4 { HOUR_MS } else { 10 },
            ..Plan::default()
        })
        .await;
    assert_eq!(outcome, Ok(Outcome::Finished));
    // the first generation until its last progress, at most two heartbeats, the pause, the second generation
    let (least, most) = (ms(400 + 10_000 + 1000 + 2000), ms(2000 + 20_000 + 1000 + 2100));
    let took = began_at.elapsed();
    assert!(least < took && took < most, "{took:?}");
    let status = world.status();
    assert_eq!((status.phase, status.generation, status.n_failures), (Phase::Ended, 2, 1));
    assert!(status.last_failure.unwrap().starts_with("worker has made no progress for 1"));
    let worker = world.worker();
    assert_eq!(worker.n_generations, 2);
    assert_eq!(worker.n_out, 24, "four before the hang, then all");
    assert!(worker.life_s > 12.0 && worker.life_s < took.as_secs_f64());
    let covered = worker.busy_s + worker.waiting_input_s + worker.waiting_output_s;
    assert!((covered - worker.life_s).abs() < 1e-6, "{worker:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_input_and_output_is_no_hang() {
    let world = World { sink_pause: ms(60_000), ..World::new(12) };
    assert_eq!(world.supervise(|_, _| Plan::default()).await, Ok(Outcome::Finished));
    assert_eq!((world.status().n_failures, lock(&world.outputs).len()), (0, 12));
    assert!(world.worker().waiting_output_s > 60.0);

    let world = World::new(1);
    let shutdown = world.supervision.shutdown.clone();
    let run = supervise(&SETTINGS, &world.supervision, |generation| async move {
        let (sender, _taken) = rejections::<u64>();
        let mut assembly = Assembly::new(&Statistics::default(), sender);
        let (to_worker, input) = mailbox(1);
        let (to_sink, sink) = mailbox(1);
        let worker = Worker { plan: |_| Plan::default(), side_by_side: SideBySide::default() };
        assembly.stage(worker, input, to_sink, 1);
        assembly.task("sink", |_| collect(sink, Shared::default()));
        assembly.task("source", |_| async move {
            generation.drain.cancelled().await;
            drop(to_worker);
            Ok::<(), Closed>(())
        });
        assembly.run(&generation.abort).await
    });
    let drain = async {
        sleep(ms(HOUR_MS)).await;
        shutdown.drain.cancel();
    };
    assert_eq!(tokio::join!(run, drain).0, Ok(Outcome::Finished));
    assert_eq!(world.status().n_failures, 0);
}

/// Waits an hour in the first item: protected in the call, in the job, or protected in the call while the job hangs.
struct Pausing {
    call_waits: bool,
    job_is_protected: bool,
}

impl Stage for Pausing {
    const NAME: &'static str = "pausing";
    type Input = Item;
    type Output = ();

    async fn process(&mut self, item: Item, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        let counters = Arc::clone(out.counters());
        // held over the waits of the outbox, which protect themselves: that counts once
        let _wait = self.call_waits.then(|| counters.protect());
        if !self.call_waits || !self.job_is_protected {
            let job_counters = Arc::clone(&counters);
            let job_is_protected = self.job_is_protected;
            out.send_when(item.0, async move {
                let _wait = job_is_protected.then(|| job_counters.protect());
                sleep(ms(HOUR_MS)).await;
                Ok(Some(()))
            })
            .await?;
        }
        if self.call_waits {
            let _nested = counters.protect();
            sleep(ms(HOUR_MS)).await;
        }
        Ok(())
    }

    /// Ticks are no progress of the job.
    fn tick_period(&self) -> Option<Duration> {
        Some(ms(20))
    }
}

#[tokio::test(start_paused = true)]
async fn a_protected_wait_is_no_hang_but_hides_none() {
    let cases = [(true, true, 0), (false, true, 0), (true, false, 1), (false, false, 1)];
    for (call_waits, job_is_protected, n_failures) in cases {
        let supervision = Supervision::default();
        let statistics = supervision.statistics.clone();
        let settings = SupervisorSettings { restart_limit: 0, ..SETTINGS };
        let result = supervise(&settings, &supervision, |generation| {
            let statistics = statistics.clone();
            async move {
                let (sender, _taken) = rejections::<u64>();
                let mut assembly = Assembly::new(&statistics, sender);
                let (to_pausing, input) = mailbox(1);
                assembly.last_stage(Pausing { call_waits, job_is_protected }, input, 2);
                assembly.task("source", |_| send_all(1, to_pausing));
                assembly.run(&generation.abort).await
            }
        })
        .await;
        assert_eq!(result.is_err(), n_failures > 0, "{result:?}");
        let snapshot = statistics.snapshot().remove(0);
        let is_protected = call_waits || job_is_protected;
        assert!(!is_protected || snapshot.protected_s > 9.0, "{snapshot:?}");
        assert!(snapshot.busy_s >= snapshot.protected_s, "{snapshot:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn restarts_pause_longer_and_longer_and_are_limited() {
    let world = World::new(20);
    let began_at = Instant::now();
    let result =
        world.supervise(|_, n| Plan { job_ms: 0, deed: if n == 2 { Deed::FatalInJob } else { Deed::Send } });
    let error = result.await.unwrap_err();
    let expected = SupervisorError::RestartLimit {
        n_restarts: 3,
        window: SETTINGS.restart_window,
        last: "worker failed: planned in job".to_owned(),
    };
    assert_eq!(error, expected);
    // four generations of 200 ms, with 1, 2 and 4 seconds between them
    let took = began_at.elapsed();
    assert!(took >= ms(7800) && took < ms(7900), "{took:?}");
    let worker = world.worker();
    assert_eq!((worker.n_generations, worker.n_in, worker.n_out), (4, 12, 8));
    assert_eq!(world.status().n_failures, 4);
}

#[tokio::test(start_paused = true)]
async fn failures_long_ago_are_forgotten_and_panics_count() {
    let settings = SupervisorSettings { restart_limit: 1, ..SETTINGS };
    let supervision = Supervision::default();
    let outcome = supervise(&settings, &supervision, |generation| async move {
        sleep(SETTINGS.restart_window).await;
        assert!(generation.number > 5, "planned in a generation");
        Ok::<(), AssemblyError>(())
    })
    .await;
    assert_eq!(outcome, Ok(Outcome::Finished));
    let status = supervision.status.current();
    assert_eq!((status.generation, status.n_failures), (6, 5));
    assert_eq!(status.last_failure.as_deref(), Some("panicked: planned in a generation"));
}

/// Supervises, drains after a second, and returns the outcome and how long it took from then.
async fn drain_after_a_second(
    world: &World,
    plan: fn(u32, u64) -> Plan,
) -> (Result<Outcome, SupervisorError>, Duration) {
    let drain = async {
        sleep(ms(1050)).await;
        world.supervision.shutdown.drain.cancel();
        Instant::now()
    };
    let (result, drained_at) = tokio::join!(world.supervise(plan), drain);
    (result, drained_at.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_is_inside() {
    let world = World::new(1000);
    let (result, took) = drain_after_a_second(&world, |_, _| Plan { job_ms: 2000, ..Plan::default() }).await;
    assert_eq!(result, Ok(Outcome::Finished));
    // two in jobs, one in the call, four in the mailbox, one that the source is sending
    assert_eq!(*lock(&world.outputs), [0, 1, 2, 3, 4, 5, 6, 7].map(Item));
    // two at once take two seconds
    assert!(took > ms(6500) && took < ms(7500), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_takes_too_long_is_cut_off() {
    let world = World::new(1000);
    // progress is made, but not fast enough
    let (result, took) = drain_after_a_second(&world, |_, _| Plan { job_ms: 9000, ..Plan::default() }).await;
    assert_eq!(result, Ok(Outcome::DrainTimedOut));
    assert_eq!(took, SETTINGS.drain_timeout);
    assert!(world.worker().n_out < world.worker().n_in);
    assert_eq!(world.status().phase, Phase::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_failure_during_the_drain_is_an_error_at_once() {
    let world = World::new(1000);
    let (result, took) = drain_after_a_second(&world, |_, n| Plan {
        job_ms: 500,
        deed: if n == 6 { Deed::FatalInJob } else { Deed::Send },
    })
    .await;
    assert_eq!(result, Err(SupervisorError::WhileDraining("worker failed: planned in job".to_owned())));
    assert!(took < ms(5000), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_pause_before_a_restart() {
    let world = World::new(10);
    let (result, took) =
        drain_after_a_second(&world, |_, _| Plan { job_ms: 100, deed: Deed::FatalInJob }).await;
    assert_eq!((result, took), (Ok(Outcome::Finished), ms(0)));
    assert_eq!(world.status().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn abort_ends_at_once_also_during_a_drain() {
    let world = World::new(1000);
    let abort = async {
        sleep(ms(1000)).await;
        world.supervision.shutdown.drain.cancel();
        sleep(ms(500)).await;
        world.supervision.shutdown.abort.cancel();
        Instant::now()
    };
    let run = world.supervise(|_, _| Plan { job_ms: 5000, ..Plan::default() });
    let (result, aborted_at) = tokio::join!(run, abort);
    assert_eq!((result, aborted_at.elapsed()), (Ok(Outcome::Aborted), ms(0)));
    assert_eq!(world.status().n_failures, 0);
}

/// A generation that does not listen to its abort is left behind after a grace.
#[tokio::test(start_paused = true)]
async fn a_generation_that_does_not_listen_is_left_behind() {
    let supervision = Supervision::default();
    let shutdown = supervision.shutdown.clone();
    let run = supervise(&SETTINGS, &supervision, |_| async {
        sleep(ms(HOUR_MS)).await;
        Ok::<(), AssemblyError>(())
    });
    let abort = async {
        sleep(ms(1)).await;
        shutdown.abort.cancel();
        Instant::now()
    };
    let (result, aborted_at) = tokio::join!(run, abort);
    assert_eq!(result, Ok(Outcome::Aborted));
    assert_eq!(aborted_at.elapsed(), Duration::from_secs(5));
}
