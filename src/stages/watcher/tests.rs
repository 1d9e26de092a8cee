use super::*;
use crate::actor::{Assembly, Closed, Mailbox, Statistics, mailbox, rejections};
use crate::store::{Ledger, LedgerOptions};
use globset::{Glob, GlobSet, GlobSetBuilder};
use tempfile::TempDir;

/// A watcher of two roots, `a` and `b`, and what it works with.
struct World {
    folder: TempDir,
    ledger: Ledger,
    in_work: InWork,
    hints: Arc<Hints>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for root in ["a", "b"] {
            std::fs::create_dir(folder.path().join(root)).unwrap();
        }
        let ledger = Ledger::open(&folder.path().join("state"), LedgerOptions::new("host", "run")).unwrap();
        Self { folder, ledger, in_work: InWork::default(), hints: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn watcher(&self) -> (Watcher, WatchStatus) {
        let root = |(id, name): (i64, &str)| WatchedRoot {
            root: Arc::new(Root { id, name: name.into(), path: self.path(name) }),
            only: Vec::new(),
        };
        let include = GlobSetBuilder::new().add(Glob::new("**/*.tif").unwrap()).build().unwrap();
        let settings = Settings {
            roots: [(1, "a"), (2, "b")].map(root).to_vec(),
            filter: FileFilter { include, exclude: GlobSet::empty(), depth_max: 8 },
            scan_interval: Duration::from_secs(3600),
            once: true,
            network_roots: Arc::default(),
            rescans: Rescans::default(),
        };
        let reader = LedgerReader::open(&self.path("state")).unwrap();
        let (in_work, hints) = (self.in_work.clone(), self.hints.clone());
        Watcher::new(settings, reader, self.ledger.handle(), in_work, hints)
    }
}

/// Counters as a line gives them, with a mailbox for `n` files.
fn desk(n: usize) -> (Desk, Mailbox<SeenFile>, Assembly<()>) {
    let (sender, _) = rejections::<()>();
    let mut line = Assembly::new(&Statistics::default(), sender);
    let mut counters = None;
    line.task(NAME, |given| {
        counters = Some(given);
        std::future::pending::<Result<(), Closed>>()
    });
    let (out, seen) = mailbox(n);
    (Desk { out, counters: counters.unwrap(), stop: CancellationToken::new() }, seen, line)
}

#[tokio::test]
async fn only_files_that_were_handed_out_count_as_found() {
    let world = World::new();
    ["1.tif", "2.tif"].iter().for_each(|name| std::fs::write(world.path("a").join(name), b"x").unwrap());
    let (mut watcher, status) = world.watcher();
    let (desk, mut seen, _line) = desk(8);
    watcher.walk_everything(&desk).await.unwrap();
    watcher.walk_everything(&desk).await.unwrap();
    let named = watcher.settings.roots[0].root.path.join("1.tif");
    watcher.walk_hinted(vec![named.clone()], &desk).await.unwrap();
    let found = |status: &WatchStatus| {
        let root = status.snapshot().remove(0);
        (root.walks, root.files, root.found_by_walk, root.found_by_event)
    };
    assert_eq!(found(&status), (2, 2, 2, 0), "both are in work still");
    drop((seen.recv().await, seen.recv().await));
    watcher.walk_hinted(vec![named], &desk).await.unwrap();
    assert_eq!(found(&status), (2, 2, 2, 1));
}

#[tokio::test]
async fn a_walk_that_hangs_is_left_behind_and_the_other_roots_go_on() {
    let world = World::new();
    std::fs::write(world.path("b/x.tif"), b"x").unwrap();
    let (mut watcher, status) = world.watcher();
    watcher.silence_max = Duration::from_millis(100);
    let (desk, mut seen, _line) = desk(8);
    watcher.walk_everything(&desk).await.unwrap();
    drop(seen.recv().await.unwrap());

    // the thread sleeps, as one in a call on a dead share; it hears of its end when it wakes
    let hang: WalkFunction = |_, _, visit| {
        let _ = visit(Met::Beat);
        std::thread::sleep(Duration::from_secs(2));
        assert!(visit(Met::Beat).is_break(), "nobody listens any more");
        Ok(WalkReport::default())
    };
    assert!(watcher.walk(0, PathBuf::new(), &desk, hang).await.unwrap().is_none());
    let states = || status.snapshot().into_iter().map(|root| root.state).collect::<Vec<_>>();
    assert_eq!(states(), ["offline (does not answer)", "online"]);
    watcher.walk_everything(&desk).await.unwrap();
    assert_eq!(seen.recv().await.unwrap().ticket.path.to_report(), "x.tif", "the other root is walked");
    assert_eq!(states(), ["offline (does not answer)", "online"]);

    while watcher.sources[0].is_stuck() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    watcher.walk_everything(&desk).await.unwrap();
    assert_eq!(states(), ["online", "online"]);
}

#[tokio::test]
async fn hints_for_everything_leave_a_pause_between_walks() {
    let world = World::new();
    let (mut watcher, status) = world.watcher();
    watcher.settings.once = false;
    let (Desk { out, counters, stop }, _seen, _line) = desk(8);
    let running = tokio::spawn(watcher.run(out, stop.clone(), counters));
    let started = Instant::now();
    while started.elapsed() < PAUSE_MIN * 5 / 2 {
        world.hints.everything();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let walks = status.snapshot()[0].walks;
    assert!((2..=3).contains(&walks), "{walks} walks in {:?}", started.elapsed());
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_full_mailbox_counts_as_waiting_for_output_and_the_walk_can_be_stopped() {
    let world = World::new();
    for number in 0..5 {
        std::fs::write(world.path("a").join(format!("{number}.tif")), b"x").unwrap();
    }
    let (mut watcher, _) = world.watcher();
    let (desk, _seen, _line) = desk(1);
    let (counters, stop) = (desk.counters.clone(), desk.stop.clone());
    let walking = tokio::spawn(async move { watcher.walk_everything(&desk).await });
    while counters.snapshot().n_out < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.cancel();
    walking.await.unwrap().unwrap();
    let counted = counters.snapshot();
    assert_eq!(counted.n_out, 1);
    assert!(counted.waiting_output_s > 0.09, "{counted:?}");
}
