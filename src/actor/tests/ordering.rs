//! Results leave in the order of the calls, whatever their jobs take.

use super::*;

#[tokio::test(start_paused = true)]
async fn order_is_kept_for_any_number_of_permits() {
    for n_permits in 1..=8 {
        let run = run_worker(200, n_permits, |n| Plan { job_ms: scrambled(n, 50), ..Plan::default() }).await;
        assert_eq!(run.result, Ok(()));
        assert_eq!(run.outputs, (0..200).collect::<Vec<_>>(), "{n_permits} permits");
        assert_eq!(run.side_by_side, n_permits);
        assert_eq!((run.worker.n_in, run.worker.n_out, run.worker.n_in_flight), (200, 200, 0));
        assert_eq!(run.worker.n_bytes, 2000);
        let job_s: u64 = (0..200).map(|n| scrambled(n, 50)).sum();
        assert!((run.worker.work_s - job_s as f64 / 1e3).abs() < 0.3, "{} of {job_s} ms", run.worker.work_s);
    }
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_between_calls_and_jobs() {
    let run = run_worker(100, 3, |n| {
        let deed = if n % 3 == 0 { Deed::SendInCall } else { Deed::Send };
        Plan { job_ms: scrambled(n, 20), deed }
    })
    .await;
    assert_eq!(run.outputs, (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_job_may_send_nothing() {
    let run = run_worker(10, 2, |n| {
        let deed = if n % 2 == 0 { Deed::Nothing } else { Deed::Send };
        Plan { job_ms: 5, deed }
    })
    .await;
    assert_eq!(run.outputs, [1, 3, 5, 7, 9]);
    assert_eq!((run.worker.n_out, run.worker.n_rejected), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn one_slow_job_lets_others_run_ahead_but_not_without_bound() {
    let (to_worker, input) = mailbox(100);
    let (to_sink, mut sink) = mailbox(100);
    let (sender, _taken) = rejections::<u64>();
    let mut assembly = Assembly::new(&Statistics::default(), sender);
    let plan = |n| Plan { job_ms: if n == 0 { 1000 } else { 1 }, ..Plan::default() };
    let handle = assembly.stage(Worker { plan, side_by_side: SideBySide::default() }, input, to_sink, 3);
    for n in 0..20 {
        to_worker.send(Item(n)).await.unwrap();
    }
    sleep(ms(500)).await;
    // six places, and the call that waits for one
    assert_eq!((handle.snapshot().n_in, handle.snapshot().n_out), (7, 0));
    assert_eq!(sink.try_recv(), None);
    sleep(ms(1000)).await;
    assert_eq!(handle.snapshot().n_out, 20);
}

#[tokio::test(start_paused = true)]
async fn permits_change_while_jobs_run() {
    let (to_worker, input) = mailbox(4);
    let (to_sink, sink) = mailbox(4);
    let (sender, _taken) = rejections::<u64>();
    let side_by_side = SideBySide::default();
    let outputs = Shared::default();
    let mut assembly = Assembly::new(&Statistics::default(), sender);
    let worker =
        Worker { plan: |_| Plan { job_ms: 100, ..Plan::default() }, side_by_side: side_by_side.clone() };
    let handle = assembly.stage(worker, input, to_sink, 1);
    assembly.task("source", |_| send_all(60, to_worker));
    assembly.task("sink", |_| collect(sink, Arc::clone(&outputs)));
    let run = tokio::spawn(async move { assembly.run(&CancellationToken::new()).await });
    sleep(ms(450)).await;
    assert_eq!((side_by_side.take_max(), handle.permits()), (1, 1));
    handle.set_permits(5);
    sleep(ms(500)).await;
    assert_eq!((side_by_side.take_max(), handle.permits()), (5, 5));
    handle.set_permits(2);
    assert_eq!(side_by_side.now(), 5, "running jobs are left alone");
    sleep(ms(150)).await;
    side_by_side.take_max();
    sleep(ms(500)).await;
    assert_eq!(side_by_side.take_max(), 2);
    handle.set_permits(0);
    assert_eq!(handle.permits(), 1);
    assert_eq!(run.await.unwrap(), Ok(()));
    assert_eq!(lock(&outputs).iter().map(|Item(n)| *n).collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
}
