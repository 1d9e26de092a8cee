//! Messages for the system journal: each begins with its priority as sd-daemon(3) has it (`<6>`), without colour and, as
//! text, without the time that the journal keeps by itself.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// Puts the priority in front of what another format writes.
pub(super) struct Prioritized<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

/// Whether stderr is the journal: systemd says which file that is in `JOURNAL_STREAM`, as `DEVICE:INODE`.
#[cfg(unix)]
pub(super) fn is_stderr() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let Ok(said) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let stat = stderr.and_then(|stderr| stderr.metadata());
    stat.is_ok_and(|stat| said == format!("{}:{}", stat.dev(), stat.ino()))
}

/// There is no journal on this system.
#[cfg(not(unix))]
pub(super) fn is_stderr() -> bool {
    false
}
