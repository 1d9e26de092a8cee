//! What the machine is, and how busy it and this process are while a benchmark runs.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use crate::platform::process;

/// The machine and the program, as a report begins with them.
pub fn system_information() -> Value {
    let mut system = System::new();
    system.refresh_memory();
    system.refresh_cpu_all();
    let load = System::load_average();
    json!({
        "scopewatch": env!("CARGO_PKG_VERSION"),
        "host": process::host_name(),
        "system": System::long_os_version(),
        "kernel": System::kernel_version(),
        "architecture": System::cpu_arch(),
        "processor": system.cpus().first().map(|cpu| cpu.brand().trim()),
        "cores": system.cpus().len(),
        "cores_usable": process::usable_cores(),
        "frequency_mhz": system.cpus().iter().map(sysinfo::Cpu::frequency).max(),
        "memory_mb": system.total_memory() >> 20,
        "memory_usable_mb": process::memory_limit_bytes().map(|bytes| bytes >> 20),
        "load_average": [load.one, load.five, load.fifteen],
        "debug_build": cfg!(debug_assertions),
    })
}

/// How busy machine and process were at one time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the benchmark began.
    pub time_s: f64,
    /// Share of all cores that were busy since the sample before, in percent.
    pub system_cpu_percent: f64,
    /// Share of all cores that this process kept busy, in percent.
    pub process_cpu_percent: f64,
    /// Resident memory of this process in MB.
    pub resident_mb: f64,
    /// Memory in use on the machine in MB.
    pub system_memory_mb: f64,
    /// Load average of the last minute.
    pub load_one: f64,
}

/// Takes samples on a thread of its own until it is told to stop.
pub struct Sampler {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Sampler {
    /// Begins to take samples, each shown to `tell`; the last one when it ends.
    pub fn begin(interval: Duration, tell: impl Fn(&Sample) + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let samples = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&samples);
        let begun = Instant::now();
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(move || {
            let mut watch = Watch::begin(begun);
            let mut is_running = true;
            while is_running {
                is_running = stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
                if let Some(sample) = watch.look() {
                    tell(&sample);
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), samples })
    }

    /// Ends, and returns the samples in order.
    pub fn end(mut self) -> Vec<Sample> {
        self.stop_thread();
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stop_thread(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic there loses metrics, nothing else
            let _ = thread.join();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop_thread();
    }
}

/// Shares are those since the look before.
struct Watch {
    begun: Instant,
    system: System,
    looked: Instant,
    /// Processor time of this process until then.
    worked: Option<Duration>,
}

impl Watch {
    fn begin(begun: Instant) -> Self {
        let mut watch = Self { begun, system: System::new(), looked: begun, worked: None };
        let _ = watch.look();
        watch
    }

    fn look(&mut self) -> Option<Sample> {
        let own = sysinfo::get_current_pid().ok()?;
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, what);
        let (looked, worked) = (Instant::now(), process::cpu_time());
        let process = self.system.process(own)?;
        // sysinfo says 0 for the first share of a process that has only just begun
        let share = self.worked.zip(worked).map_or_else(
            || f64::from(process.cpu_usage()),
            |(before, now)| 100.0 * now.saturating_sub(before).div_duration_f64(looked - self.looked),
        );
        (self.looked, self.worked) = (looked, worked);
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Some(Sample {
            time_s: self.begun.elapsed().as_secs_f64(),
            system_cpu_percent: f64::from(self.system.global_cpu_usage()),
            // in a few milliseconds the clocks of other cores are behind by as much
            process_cpu_percent: (share / self.system.cpus().len().max(1) as f64).min(100.0),
            resident_mb: megabytes(process.memory()),
            system_memory_mb: megabytes(self.system.used_memory()),
            load_one: System::load_average().one,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described_and_watched() {
        let machine = system_information();
        assert!(machine["cores"].as_u64().unwrap() >= 1 && machine["memory_mb"].as_u64().unwrap() > 0);
        let (told, heard) = mpsc::channel();
        let sampler = Sampler::begin(Duration::from_secs(3600), move |sample| told.send(*sample).unwrap());
        let sampler = sampler.unwrap();
        let worked = process::cpu_time().unwrap();
        while process::cpu_time().unwrap() - worked < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        let samples = sampler.end();
        assert_eq!(samples.len(), 1, "one when it ends");
        assert_eq!(heard.recv().unwrap(), samples[0]);
        assert!(samples[0].resident_mb > 1.0);
        assert!(samples[0].process_cpu_percent > 0.0, "the first sample tells of work");
    }
}
