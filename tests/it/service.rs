//! As a systemd service: what the manager hears, the unit, the installation, the logs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{Daemon, PATIENCE, Sandbox, field, output, scopewatch, tiff, wait_until};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether a tool of the system is there; says so where a check is left out.
fn is_there(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|ended| ended.status.success());
    if !found {
        eprintln!("skipped: {tool} is not installed");
    }
    found
}

fn text(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr)
}

/// Where a service manager would listen.
struct Manager(UnixDatagram);

impl Manager {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The lines of the next message.
    fn hear(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let n_bytes = self.receive(&mut bytes).expect("the service tells its manager something");
        String::from_utf8(bytes[..n_bytes].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// The next message. A machine that was halted for a moment interrupts whoever waits with a limit: nothing came.
    fn receive(&self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.recv(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }

    /// Listens until a line is heard that begins so.
    fn hear_until(&self, start: &str) -> String {
        loop {
            if let Some(line) = self.hear().into_iter().find(|line| line.starts_with(start)) {
                return line;
            }
        }
    }
}

#[test]
fn the_service_manager_hears_ready_status_watchdog_and_stopping() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("notify");
    let manager = Manager::new(&socket);
    let mut command = sandbox.run_command();
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "600000").env_remove("WATCHDOG_PID");
    let mut daemon = Daemon::start(&mut command, sandbox.path());
    manager.hear_until("READY=1");
    manager.hear_until("WATCHDOG=1");
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    sandbox.drop_file("bad.tif", b"hello, no image");
    sandbox.wait_for_files(2);
    wait_until("the status counts the files", || {
        let status = manager.hear_until("STATUS=");
        status.contains("files: 0 waiting, 0 in work, 1 done, 1 rejected; planes: 1 done, 0 rejected")
    });
    manager.hear_until("WATCHDOG=1");
    let paused = output(scopewatch().args(["pause", "--out"]).arg(sandbox.out()));
    assert!(paused.status.success(), "{}", text(&paused));
    assert!(manager.hear_until("STATUS=").starts_with("STATUS=PAUSED; "));
    daemon.signal("TERM");
    loop {
        let lines = manager.hear();
        if lines.contains(&"STOPPING=1".to_owned()) {
            assert!(lines.contains(&"EXTEND_TIMEOUT_USEC=85000000".to_owned()), "{lines:?}");
            break;
        }
    }
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn another_processs_watchdog_is_not_fed() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("notify");
    let manager = Manager::new(&socket);
    let mut command = sandbox.run_command();
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "30000").env("WATCHDOG_PID", "1");
    let daemon = Daemon::start(&mut command, sandbox.path());
    manager.hear_until("READY=1");
    manager.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut bytes = [0; 4096];
    while let Ok(n_bytes) = manager.receive(&mut bytes) {
        let message = String::from_utf8_lossy(&bytes[..n_bytes]);
        assert!(!message.contains("WATCHDOG"), "{message}");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn messages_for_the_journal_carry_their_priority_and_no_time() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("bad.tif", b"hello, no image");
    let log = sandbox.path().join("journal");
    let run = |format: &[&str], stream: &str| {
        let stderr = fs::File::create(&log).unwrap();
        let stat = stderr.metadata().unwrap();
        let own = format!("{}:{}", stat.dev(), stat.ino());
        let mut command = sandbox.run_command();
        command.args(format).env("JOURNAL_STREAM", if stream.is_empty() { &own } else { stream });
        let mut daemon = command.stderr(stderr).spawn().unwrap();
        wait_until("the daemon is ready", || fs::read_to_string(&log).unwrap().contains("READY"));
        wait_until("a file is rejected", || !sandbox.lines("files").is_empty());
        assert!(Command::new("kill").arg(daemon.id().to_string()).status().unwrap().success());
        assert!(daemon.wait().unwrap().success());
        fs::read_to_string(&log).unwrap()
    };
    let journal = run(&[], "");
    assert!(journal.lines().all(|line| line.starts_with('<')), "{journal}");
    let has = |text: &str, start: &str, part: &str| {
        text.lines().any(|line| line.trim_start().starts_with(start) && line.contains(part))
    };
    assert!(has(&journal, "<6>", "READY") && has(&journal, "<4>", "rejected"), "{journal}");
    assert!(!journal.contains("Z ") && !journal.contains('\u{1b}'), "no time, no colours: {journal}");

    let elsewhere = run(&[], "1:2");
    assert!(elsewhere.lines().all(|line| line.contains("Z ") && !line.starts_with('<')), "{elsewhere}");

    let objects = run(&["--json"], "");
    for line in objects.lines() {
        let object =
            line.strip_prefix("<6>").or_else(|| line.strip_prefix("<4>")).unwrap_or_else(|| panic!("{line}"));
        let object: serde_json::Value = serde_json::from_str(object).unwrap();
        assert!(object["timestamp"].is_string() && object["fields"]["message"].is_string(), "{object}");
    }
    // the log file has both, whatever stderr is; the last run wrote objects
    let file = fs::read_to_string(sandbox.out().join("logs/scopewatch.log")).unwrap();
    assert!(file.lines().any(|line| line.contains(" INFO ") && line.contains("READY")), "{file}");
    assert!(file.lines().last().is_some_and(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn a_failed_start_is_an_error_in_the_journal_and_in_the_log_file() {
    let sandbox = Sandbox::new();
    let journal = sandbox.path().join("journal");
    let run = |command: &mut Command| {
        let stderr = fs::File::create(&journal).unwrap();
        let stat = stderr.metadata().unwrap();
        command.env("JOURNAL_STREAM", format!("{}:{}", stat.dev(), stat.ino()));
        let code = command.stderr(stderr).status().unwrap().code();
        (code, fs::read_to_string(&journal).unwrap())
    };
    // before logging runs
    let configuration = sandbox.path().join("bad.toml");
    fs::write(&configuration, "[watch\n").unwrap();
    let (code, said) = run(scopewatch().args(["run", "--config"]).arg(&configuration));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("<3>error: ") && said.lines().all(|line| line.starts_with("<3>")), "{said}");
    // after
    fs::create_dir(sandbox.out()).unwrap();
    fs::write(sandbox.out().join("state"), b"no folder").unwrap();
    let (code, said) = run(&mut sandbox.run_command());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("<3>") && said.contains("state"), "{said}");
    let log = fs::read_to_string(sandbox.out().join("logs/scopewatch.log")).unwrap();
    assert!(log.contains("ERROR") && log.contains("state"), "{log}");
}

#[test]
fn logs_go_to_the_folder_that_systemd_names() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("var-log");
    let daemon = Daemon::start(sandbox.run_command().env("LOGS_DIRECTORY", &folder), sandbox.path());
    assert_eq!(daemon.stop(), Some(0));
    assert!(fs::read_to_string(folder.join("scopewatch.log")).unwrap().contains("READY"));
    assert!(!sandbox.out().join("logs").exists());
}

/// Installs into a folder; the command that does it again, or takes it away.
fn install(dest: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(repository("scripts/install.sh"));
    command.env("DESTDIR", dest).args(["--binary", env!("CARGO_BIN_EXE_scopewatch")]).args(flags);
    output(&mut command)
}

#[test]
fn the_installation_says_what_it_does_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    let dest = sandbox.path().join("system");
    let ended = install(&dest, &["--dry-run"]);
    assert!(ended.status.success() && text(&ended).contains("installing"), "{}", text(&ended));
    assert!(!dest.exists(), "a dry run does nothing");

    let ended = install(&dest, &["--prefix", "/opt/scope"]);
    assert!(ended.status.success(), "{}", text(&ended));
    let unit = fs::read_to_string(dest.join("etc/systemd/system/scopewatch.service")).unwrap();
    assert_eq!(unit.matches("/opt/scope/bin/scopewatch").count(), 1, "{unit}");
    let configuration = dest.join("etc/scopewatch/scopewatch.toml");
    let checked = output(
        Command::new(dest.join("opt/scope/bin/scopewatch"))
            .args(["check-config", "--config"])
            .arg(&configuration),
    );
    assert!(checked.status.success(), "{}", text(&checked));
    let own = fs::read_to_string(&configuration).unwrap();
    assert!(own.contains("dir = \"/var/lib/scopewatch\""));

    fs::write(&configuration, own + "# mine\n").unwrap();
    let again = install(&dest, &["--prefix", "/opt/scope"]);
    assert!(again.status.success() && text(&again).contains("keeping"), "{}", text(&again));
    assert!(fs::read_to_string(&configuration).unwrap().ends_with("# mine\n"));

    let own_settings = dest.join("etc/systemd/system/scopewatch.service.d/override.conf");
    fs::create_dir_all(own_settings.parent().unwrap()).unwrap();
    fs::write(&own_settings, "[Service]\n").unwrap();
    // where the program is, the unit says
    let ended = install(&dest, &["--uninstall"]);
    assert!(ended.status.success() && text(&ended).contains("kept"), "{}", text(&ended));
    assert!(text(&ended).contains("/etc/systemd/system/scopewatch.service.d"), "{}", text(&ended));
    fs::remove_dir_all(dest.join("etc/systemd")).unwrap();
    assert!(configuration.exists() && !dest.join("opt").exists() && !dest.join("etc/systemd").exists());
    let ended = install(&dest, &["--uninstall", "--purge", "--prefix", "/opt/scope"]);
    assert!(ended.status.success(), "{}", text(&ended));
    let left: Vec<_> = fs::read_dir(&dest).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_installation_refuses_what_it_does_not_understand() {
    let sandbox = Sandbox::new();
    let dest = sandbox.path().join("system");
    for (flags, expected) in [
        (&["--prefx", "/opt"][..], "--prefx"),
        (&["--prefix", "opt"], "absolute"),
        (&["--prefix", "/opt/a|b"], "expected letters"),
        (&["--prefix", "/opt/a b"], "expected letters"),
        (&["--purge"], "--uninstall"),
    ] {
        let ended = install(&dest, flags);
        assert_eq!(ended.status.code(), Some(2), "{flags:?}");
        assert!(text(&ended).contains(expected), "{}", text(&ended));
    }
    let ended = install(&dest, &["--binary", "/no/such/program"]);
    assert!(!ended.status.success() && text(&ended).contains("/no/such/program"), "{}", text(&ended));
    assert!(!dest.exists());
}

#[test]
fn the_installation_takes_paths_from_where_it_is_called() {
    let sandbox = Sandbox::new();
    fs::copy(env!("CARGO_BIN_EXE_scopewatch"), sandbox.path().join("program")).unwrap();
    let mut command = Command::new(repository("scripts/install.sh"));
    command.current_dir(sandbox.path()).env("DESTDIR", "system").args(["--binary", "program"]);
    let ended = output(&mut command);
    assert!(ended.status.success(), "{}", text(&ended));
    assert!(sandbox.path().join("system/usr/local/bin/scopewatch").exists());
}

#[test]
fn the_unit_is_sound_and_well_shut() {
    if !is_there("systemd-analyze") {
        return;
    }
    let sandbox = Sandbox::new();
    let dest = sandbox.path().join("system");
    assert!(install(&dest, &["--prefix", "/"]).status.success());
    let unit = dest.join("etc/systemd/system/scopewatch.service");
    // the program stands below the folder of the trial
    let own = fs::read_to_string(&unit).unwrap();
    let program = format!("={}/bin/scopewatch", dest.display());
    fs::write(&unit, own.replace("=//bin/scopewatch", &program)).unwrap();
    let verified = output(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert!(verified.status.success() && text(&verified).trim().is_empty(), "{}", text(&verified));
    // 15 is an exposure of 1.5 on the scale of the tool
    let security = output(
        Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=15"]).arg(&unit),
    );
    assert!(security.status.success(), "{}", text(&security));
    fs::write(&unit, own.replace("Type=notify", "Tipe=notify")).unwrap();
    let wrong = output(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert!(text(&wrong).contains("Tipe"), "the check finds a mistake: {}", text(&wrong));
}
