//! One bad item is rejected and the others go on; what is fatal ends the line and says why.

use super::*;

fn rejected(ticket: u64, reason: &str, panicked: bool) -> Rejection<u64> {
    Rejection { ticket, stage: "worker", reason: reason.to_owned(), panicked }
}

#[tokio::test(start_paused = true)]
async fn errors_and_panics_of_items_become_rejections_in_order() {
    let run = run_worker(20, 4, |n| {
        let deed = match n {
            3 => Deed::RejectInJob,
            4 => Deed::PanicInJob,
            9 => Deed::RejectInCall,
            10 => Deed::PanicInCall,
            _ => Deed::Send,
        };
        Plan { job_ms: scrambled(n, 30), deed }
    })
    .await;
    assert_eq!(run.result, Ok(()));
    assert_eq!(run.outputs, (0..20).filter(|n| ![3, 4, 9, 10].contains(n)).collect::<Vec<_>>());
    let expected = [
        rejected(3, "planned in job", false),
        rejected(4, "planned in job", true),
        rejected(9, "planned in call", false),
        rejected(10, "planned in call", true),
    ];
    assert_eq!(run.rejections, expected);
    assert_eq!((run.worker.n_rejected, run.worker.n_panicked, run.worker.n_out), (4, 2, 16));
    assert_eq!(run.worker.n_in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_ends_the_line_with_its_reason() {
    for (deed, place) in [(Deed::FatalInJob, "job"), (Deed::FatalInCall, "call")] {
        let run = run_worker(1000, 2, move |n| {
            let deed = if n == 7 { deed } else { Deed::Send };
            Plan { job_ms: 5, deed }
        })
        .await;
        let reason = format!("planned in {place}");
        assert_eq!(run.result, Err(AssemblyError::Failed { name: "worker", reason }));
        assert_eq!(run.outputs, (0..7).take(run.outputs.len()).collect::<Vec<_>>());
        assert_eq!(run.side_by_side, 2);
    }
}

/// Takes items in and panics where no item can be blamed.
struct Broken;

impl Stage for Broken {
    const NAME: &'static str = "broken";
    type Input = Item;
    type Output = ();

    async fn process(&mut self, item: Item, _: &mut StageOutbox<Self>) -> Result<(), StageError> {
        if item.0 == 5 { Err(StageError::fatal("the disk has gone")) } else { Ok(()) }
    }

    async fn finish(&mut self, _: &mut StageOutbox<Self>) -> Result<(), StageError> {
        panic!("planned in finish")
    }
}

#[tokio::test(start_paused = true)]
async fn the_cause_is_named_and_not_its_consequences() {
    for (n_items, expected) in [(100, "the disk has gone"), (5, "panicked: planned in finish")] {
        let (sender, _taken) = rejections::<u64>();
        let mut assembly = Assembly::new(&Statistics::default(), sender);
        let (to_worker, worker_input) = mailbox(2);
        let (to_broken, broken_input) = mailbox(2);
        let worker = Worker { plan: |_| Plan::default(), side_by_side: SideBySide::default() };
        assembly.stage(worker, worker_input, to_broken, 2);
        assembly.last_stage(Broken, broken_input, 1);
        assembly.task("source", |_| async move {
            // a source that does not mind
            let _ = send_all(n_items, to_worker).await;
            Ok::<(), Closed>(())
        });
        let result = assembly.run(&CancellationToken::new()).await;
        assert_eq!(result, Err(AssemblyError::Failed { name: "broken", reason: expected.to_owned() }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_leaves_and_a_name_given_twice_are_errors() {
    let (sender, _taken) = rejections::<u64>();
    let mut assembly = Assembly::new(&Statistics::default(), sender.clone());
    let (to_worker, input) = mailbox(2);
    let (to_nobody, nobody) = mailbox(2);
    let worker = || Worker { plan: |_| Plan::default(), side_by_side: SideBySide::default() };
    assembly.stage(worker(), input, to_nobody.clone(), 1);
    drop(nobody);
    to_worker.send(Item(1)).await.unwrap();
    let result = assembly.run(&CancellationToken::new()).await;
    assert_eq!(result, Err(AssemblyError::OutputClosed { name: "worker" }));

    let mut assembly = Assembly::new(&Statistics::default(), sender);
    assembly.stage(worker(), mailbox(1).1, to_nobody.clone(), 1);
    assembly.stage(worker(), mailbox(1).1, to_nobody, 1);
    let result = assembly.run(&CancellationToken::new()).await;
    assert_eq!(result, Err(AssemblyError::NameTwice { name: "worker" }));
}

#[tokio::test(start_paused = true)]
async fn a_panicking_task_takes_the_line_down() {
    let (sender, taken) = rejections::<u64>();
    let mut assembly = Assembly::new(&Statistics::default(), sender);
    let (to_worker, input) = mailbox::<Item>(1);
    let (to_sink, _sink) = mailbox(1);
    let worker = Worker { plan: |_| Plan::default(), side_by_side: SideBySide::default() };
    assembly.stage(worker, input, to_sink, 1);
    assembly.task("source", |_| async move {
        let _held = (to_worker, taken);
        sleep(ms(10)).await;
        assert!(_held.0.is_closed(), "planned in source");
        Ok::<(), Closed>(())
    });
    let result = assembly.run(&CancellationToken::new()).await;
    let reason = "panicked: planned in source".to_owned();
    assert_eq!(result, Err(AssemblyError::Failed { name: "source", reason }));
}

/// The end of a line that writes rejections, too, and rejects some of what it gets.
struct Writer;

#[derive(Debug)]
enum Line {
    Done(u64),
    Rejected(u64),
}

impl Traceable for Line {
    type Ticket = u64;

    fn ticket(&self) -> u64 {
        let (Self::Done(n) | Self::Rejected(n)) = self;
        *n
    }
}

impl Stage for Writer {
    const NAME: &'static str = "writer";
    type Input = Line;
    type Output = ();

    async fn process(&mut self, line: Line, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        sleep(ms(1)).await;
        match line {
            Line::Done(n) if n % 2 == 0 => Err(StageError::item("cannot be written")),
            Line::Done(_) | Line::Rejected(_) => out.send(()).await,
        }
    }
}

/// The taker of rejections waits for the writer, and the writer rejects: with bounded rejections this stands still.
#[tokio::test(start_paused = true)]
async fn rejections_in_a_circle_do_not_stand_still() {
    let statistics = Statistics::default();
    let (sender, mut taken) = rejections::<u64>();
    let backlog = sender.backlog();
    let mut assembly = Assembly::new(&statistics, sender);
    let (to_writer, input) = mailbox(1);
    let writer = assembly.last_stage(Writer, input, 1);
    let from_taker = to_writer.clone();
    let (finished, n_taken) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let (all_taken, count) = (finished.clone(), Arc::clone(&n_taken));
    assembly.task("taker", |_| async move {
        // the circle ends when the source has ended and all its rejections have come
        while count.load(Ordering::SeqCst) < 1000 {
            let Some(rejection) = taken.recv().await else { break };
            from_taker.send(Line::Rejected(rejection.ticket)).await?;
            count.fetch_add(1, Ordering::SeqCst);
        }
        all_taken.cancel();
        Ok::<(), Closed>(())
    });
    let limit = 10;
    let mut length_max = 0;
    assembly.task("source", |_| async move {
        for n in 0..2000 {
            backlog.wait_below(limit).await;
            length_max = length_max.max(backlog.len());
            to_writer.send(Line::Done(n)).await?;
        }
        assert!(length_max < limit);
        Ok::<(), Closed>(())
    });
    assert_eq!(assembly.run(&CancellationToken::new()).await, Ok(()));
    assert!(finished.is_cancelled());
    let snapshot = writer.snapshot();
    assert_eq!((snapshot.n_in, snapshot.n_rejected, snapshot.n_out), (3000, 1000, 2000));
}

/// Nobody takes a rejection before all are there.
#[tokio::test(start_paused = true)]
async fn rejections_never_hold_the_line_up() {
    let (sender, taken) = rejections::<u64>();
    let mut assembly = Assembly::new(&Statistics::default(), sender);
    let (to_worker, input) = mailbox(2);
    let (to_sink, _sink) = mailbox(1);
    let plan = |n| Plan { job_ms: scrambled(n, 3), deed: Deed::RejectInJob };
    assembly.stage(Worker { plan, side_by_side: SideBySide::default() }, input, to_sink, 4);
    assembly.task("source", |_| send_all(10_000, to_worker));
    assert_eq!(assembly.run(&CancellationToken::new()).await, Ok(()));
    let rejected = Shared::default();
    assert_eq!(taken.backlog().len(), 10_000);
    collect_rejections(taken, Arc::clone(&rejected)).await.unwrap();
    assert_eq!(
        lock(&rejected).iter().map(|rejection| rejection.ticket).collect::<Vec<_>>(),
        (0..10_000).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn abort_stops_every_job_before_it_returns() {
    let budget = ByteBudget::new(1 << 20);
    let side_by_side = SideBySide::default();
    let (sender, _taken) = rejections::<u64>();
    let mut assembly = Assembly::new(&Statistics::default(), sender);
    let (to_worker, input) = mailbox(2);
    let (to_sink, sink) = mailbox(2);
    let plan = |_| Plan { job_ms: 3_600_000, ..Plan::default() };
    let worker = Worker { plan, side_by_side: side_by_side.clone() };
    assembly.stage(worker, input, to_sink, 3);
    let held = budget.acquire(1 << 20).await.unwrap();
    assembly.task("source", |_| async move {
        let _held = held;
        send_all(100, to_worker).await
    });
    assembly.task("sink", |_| collect(sink, Shared::default()));
    let abort = CancellationToken::new();
    let run = tokio::spawn({
        let abort = abort.clone();
        async move { assembly.run(&abort).await }
    });
    sleep(ms(10)).await;
    assert_eq!((side_by_side.now(), budget.snapshot().used), (3, 1 << 20));
    abort.cancel();
    assert_eq!(run.await.unwrap(), Err(AssemblyError::Aborted));
    assert_eq!((side_by_side.now(), budget.snapshot().used), (0, 0));
}
