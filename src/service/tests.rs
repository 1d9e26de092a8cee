//! Supervision of the real line: panics, hangs, over-large inputs and slow consumers in every stage. How fast a hang is
//! noticed is tested in `actor`, under a stopped clock.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::actor::SupervisorStatus;
use crate::actor::planted::{self, Deed, Place, Planted};
use crate::analysis::synthesis::{FieldSettings, Random, expose, place_nuclei};
use crate::formats::Plane;
use crate::formats::tiff::{WriteOptions, encode};
use crate::settings::resolve_folders;
use crate::store::{FileHistory, LedgerReader};

const FOR_EVER: usize = usize::MAX;
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a fault can lie, and whether what meets it there is a plane; else it is a file.
const PLACES: [(&str, Place, bool); 14] = [
    ("settler", Place::Call, false),
    ("settler", Place::Job, false),
    ("decoder", Place::Call, false),
    ("decoder", Place::Job, true),
    ("segmenter", Place::Call, true),
    ("segmenter", Place::Job, true),
    ("hasher", Place::Call, true),
    ("hasher", Place::Job, true),
    ("verifier", Place::Call, true),
    ("verifier", Place::Job, true),
    ("registrar", Place::Call, true),
    ("registrar", Place::Job, true),
    ("reporter", Place::Call, true),
    ("reporter", Place::Job, true),
];

/// A watched folder and a service that works on it, in this process.
struct World {
    folder: TempDir,
    settings: Settings,
    /// Failures of the line before it may be told to end: a drain in the middle of one is an error of its own.
    n_failures_min: u32,
}

/// What came of it.
struct Ended {
    result: Result<Finished, ServiceError>,
    supervisor: SupervisorStatus,
    memory_used_max: u64,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("in")).unwrap();
        let mut settings = Settings::default();
        settings.watch.quiet_period = Duration::from_millis(20);
        settings.watch.scan_interval = Duration::from_millis(100);
        settings.output.free_space_min_bytes = 0;
        settings.resources.workers = Some(1);
        settings.resources.memory_bytes = Some(64 << 20);
        settings.pipeline.restart_backoff = Duration::from_millis(50);
        Self { folder, settings, n_failures_min: 0 }
    }

    fn inbox(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("in")
    }

    /// The text that tickets of a file hold, or only those of its planes.
    fn item(&self, name: &str, is_plane: bool) -> String {
        format!("{}{}", self.inbox().join(name).display(), if is_plane { " t" } else { "" })
    }

    fn plant(&self, (stage, place, is_plane): (&'static str, Place, bool), deed: Deed) -> Planted {
        planted::plant((stage, place), &self.item("b.tif", is_plane), deed, FOR_EVER)
    }

    /// Writes a file under a name that is passed over, then renames it.
    fn drop_file(&self, name: &str, planes: &[Plane]) {
        let hidden = self.inbox().join(format!("{name}.tmp"));
        fs::write(&hidden, encode(planes, &WriteOptions::default()).unwrap()).unwrap();
        fs::rename(hidden, self.inbox().join(name)).unwrap();
    }

    fn lines(&self, stream: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join(format!("out/reports/{stream}.jsonl")));
        text.unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The line of a file; panics unless there is just one.
    fn line(&self, stream: &str, name: &str) -> Value {
        let mut lines: Vec<_> = self.lines(stream).into_iter().filter(|line| line["file"] == name).collect();
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        lines.remove(0)
    }

    fn history(&self, name: &str) -> FileHistory {
        let reader = LedgerReader::open(&self.folder.path().join("out/state")).unwrap();
        reader.explain(&format!("in/{name}")).unwrap().remove(0)
    }

    /// Runs the service, drops `first`, and when these are reported `then`; ends it when everything is reported, or when it
    /// has ended by itself.
    async fn run(&self, first: &[(&str, Vec<Plane>)], then: &[(&str, Vec<Plane>)]) -> Ended {
        let folders = resolve_folders(&[self.inbox()], &self.folder.path().join("out")).unwrap();
        let settings = self.settings.clone();
        let task = Task { settings, folders, only: Vec::new(), once: false, hash_only: false };
        let service = Service::open(task).unwrap();
        let (watchtower, shutdown) = (service.watchtower(), service.shutdown());
        let running = tokio::spawn(service.run(|| ()));
        let mut n_files = 0;
        for files in [first, then] {
            files.iter().for_each(|(name, planes)| self.drop_file(name, planes));
            n_files += files.len();
            let begun = Instant::now();
            while self.lines("files").len() < n_files && !running.is_finished() {
                assert!(begun.elapsed() < PATIENCE, "{:#?}", watchtower.status());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let has_failed = || watchtower.supervision.status.current().n_failures >= self.n_failures_min;
        while !has_failed() && !running.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let memory_used_max = watchtower.resources.budget.snapshot().used_max;
        shutdown.drain.cancel();
        let result = running.await.unwrap();
        let supervisor = (*watchtower.supervision.status.current()).clone();
        Ended { result, supervisor, memory_used_max }
    }

    /// Runs with a file before and one beside the file that meets a fault; the others must be done.
    async fn run_three(&self) -> Ended {
        let first = [("a.tif", vec![field(1, 1)])];
        let ended = self.run(&first, &[("b.tif", vec![field(1, 2)]), ("c.tif", vec![field(3, 3)])]).await;
        if ended.result.is_ok() {
            for name in ["a.tif", "c.tif"] {
                assert_eq!(self.line("files", name)["outcome"], "done");
            }
        }
        ended
    }

    /// The file that met a fault is a dead letter, after three attempts that its history tells.
    fn check_dead_letter(&self, (stage, _, is_plane): (&str, Place, bool), reason: &str) {
        let history = self.history("b.tif");
        let line = self.line("files", "b.tif");
        assert_eq!(line["outcome"], "rejected", "{stage}: {line}");
        let failures: Vec<_> = if is_plane {
            let plane = self.line("planes", "b.tif");
            assert_eq!((&plane["outcome"], &plane["stage"]), (&"rejected".into(), &stage.into()), "{plane}");
            assert_eq!(plane["attempts"], 3, "{plane}");
            assert!(plane["reason"].as_str().unwrap().contains(reason), "{plane}");
            history.planes[0].attempts.iter().collect()
        } else {
            assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
            history.events.iter().filter(|event| event.reason.contains(reason)).collect()
        };
        assert_eq!(failures.len(), 3, "{stage}: {history:#?}");
        assert!(failures.iter().all(|event| event.reason.contains(reason)), "{failures:?}");
    }
}

/// A field of nuclei; another exposure of it has other noise.
fn field(seed: u64, exposure: u64) -> Plane {
    let settings =
        FieldSettings { height: 96, width: 128, n_nuclei: 6, diameter_px: 18.0, ..FieldSettings::default() };
    expose(&settings, &place_nuclei(&settings, &mut Random::new(seed)), exposure)
}

/// Runs one trial for each place, side by side: most of the time they wait.
async fn in_every_place<F: Future<Output = ()> + Send + 'static>(
    trial: fn((&'static str, Place, bool)) -> F,
) {
    let trials: Vec<_> = PLACES.iter().map(|place| (*place, tokio::spawn(trial(*place)))).collect();
    for ((stage, place, _), trial) in trials {
        let ended = trial.await;
        assert!(ended.is_ok(), "{stage}, {place:?}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_any_stage_costs_its_file_alone() {
    in_every_place(|place| async move {
        let world = World::new();
        let fault = world.plant(place, Deed::Panic);
        let ended = world.run_three().await;
        assert_eq!(ended.result.unwrap().outcome, Outcome::Finished);
        assert_eq!(ended.supervisor.n_failures, 0, "{:?}", ended.supervisor);
        assert_eq!(fault.n_met(), 3);
        world.check_dead_letter(place, &format!("planted in the {}", place.0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_in_any_stage_is_healed_and_its_file_given_up_in_the_end() {
    in_every_place(|place| async move {
        let mut world = World::new();
        world.settings.pipeline.hang_timeout = Duration::from_secs(3);
        // a machine that is busy with other tests may be slow beside the planted hangs
        world.settings.pipeline.restart_limit = 20;
        world.n_failures_min = 3;
        let fault = world.plant(place, Deed::Hang);
        let ended = world.run_three().await;
        assert_eq!(ended.result.unwrap().outcome, Outcome::Finished);
        assert!(ended.supervisor.n_failures >= 3, "{:?}", ended.supervisor);
        let said = ended.supervisor.last_failure.unwrap();
        assert!(said.contains("has made no progress for"), "{said}");
        assert!(fault.n_met() >= 3);
        world.check_dead_letter(place, "it made no progress within pipeline.hang_timeout_s");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_limit_of_restarts_the_service_ends_with_an_error() {
    in_every_place(|place| async move {
        let mut world = World::new();
        world.settings.pipeline.hang_timeout = Duration::from_secs(1);
        world.settings.pipeline.restart_limit = 1;
        let _fault = world.plant(place, Deed::Hang);
        let ended = world.run_three().await;
        let error = ended.result.map(|finished| finished.outcome).unwrap_err().to_string();
        assert!(error.contains("gave up after 1 restarts"), "{error}");
        assert_eq!(ended.supervisor.n_failures, 2);
        assert!(!world.lines("files").iter().any(|line| line["file"] == "b.tif"), "it is not blamed yet");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_stage_loses_nothing_and_stays_within_bounds() {
    const N_PLANES: u64 = 40;
    in_every_place(|(stage, place, _)| async move {
        let world = World::new();
        let deed = Deed::Slow(Duration::from_millis(25));
        let fault = planted::plant((stage, place), &world.item("stack.tif", false), deed, FOR_EVER);
        let planes: Vec<_> = (0..N_PLANES).map(|n| field(n, n)).collect();
        // another exposure of its first plane, so that the verifier has something to compare
        let first = [("a.tif", vec![field(0, 77)])];
        let ended = world.run(&first, &[("stack.tif", planes), ("last.tif", vec![field(99, 99)])]).await;
        assert_eq!(ended.result.unwrap().outcome, Outcome::Finished);
        assert!(fault.n_met() > 0, "{stage}: nothing was slow");
        assert_eq!(ended.supervisor.n_failures, 0, "{:?}", ended.supervisor);
        assert_eq!(world.line("files", "stack.tif")["planes"], N_PLANES);
        assert_eq!(world.lines("planes").len() as u64, N_PLANES + 2);
        assert!(ended.memory_used_max <= 56 << 20, "{} bytes", ended.memory_used_max);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plane_that_is_too_large_costs_itself_alone() {
    let mut world = World::new();
    world.settings.resources.memory_bytes = Some(16 << 20);
    let large = Plane {
        height: 3000,
        width: 3000,
        n_samples: 1,
        samples: crate::formats::Samples::Uint16(vec![7; 9_000_000]),
    };
    let ended = world
        .run(&[("a.tif", vec![field(1, 1)]), ("b.tif", vec![large])], &[("c.tif", vec![field(3, 3)])])
        .await;
    assert_eq!(ended.result.unwrap().outcome, Outcome::Finished);
    assert!(ended.memory_used_max <= 16 << 20);
    let plane = world.line("planes", "b.tif");
    assert_eq!((&plane["outcome"], &plane["stage"]), (&"rejected".into(), &"decoder".into()), "{plane}");
    assert!(plane["reason"].as_str().unwrap().contains("over limit"), "{plane}");
    for name in ["a.tif", "c.tif"] {
        assert_eq!(world.line("files", name)["outcome"], "done");
    }
}
