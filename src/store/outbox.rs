//! Report lines, written in the transaction of the change that they report; numbered per stream from 1, without gaps.

use std::fmt::Write as _;

use rusqlite::params;
use serde_json::{Map, Value};

use super::rows::FileRow;
use super::session::Session;
use crate::store::{Alert, Identity, LedgerError};
use crate::units::PlaneIndex;

/// Version of the form of the lines.
const LINE_SCHEMA: u32 = 1;

/// One report file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// One line per finished or rejected file version.
    Files,
    /// One line per finished or rejected plane.
    Planes,
    /// Changes of groups.
    Duplicates,
    /// Results of registrations.
    Registrations,
    /// What the operator should see.
    Alerts,
}

impl Stream {
    /// All streams.
    pub const ALL: [Self; 5] =
        [Self::Files, Self::Planes, Self::Duplicates, Self::Registrations, Self::Alerts];

    /// The name in the ledger, and of the file without `.jsonl`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Planes => "planes",
            Self::Duplicates => "duplicates",
            Self::Registrations => "registrations",
            Self::Alerts => "alerts",
        }
    }
}

/// The content of a line under construction, in the order in which keys are added; the first value of a key stays.
#[derive(Default)]
pub(super) struct Content(Vec<(String, Value)>);

impl Content {
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }

    pub(super) fn with_identity(self, identity: &Identity) -> Self {
        let Identity { plate, run, cycle, well, site, .. } = identity;
        self.with("plate", plate.clone())
            .with("run", run.clone())
            .with("cycle", cycle.clone())
            .with("well", well.clone())
            .with("site", site.clone())
    }

    pub(super) fn with_plane(self, index: PlaneIndex, identity: &Identity) -> Self {
        self.with("t", identity.t.unwrap_or(i64::from(index.t)))
            .with("z", identity.z.unwrap_or(i64::from(index.z)))
            .with("channel", identity.channel.clone())
    }

    pub(super) fn with_all(mut self, fields: &Map<String, Value>) -> Self {
        for (key, value) in fields {
            if !self.0.iter().any(|(known, _)| known == key) {
                self.0.push((key.clone(), value.clone()));
            }
        }
        self
    }
}

/// Writes a line into the outbox.
pub(super) fn emit(session: &Session<'_>, stream: Stream, content: &Content) -> Result<(), LedgerError> {
    let seq: i64 = session.row(
        "UPDATE cursor SET last_seq = last_seq + 1 WHERE stream = ?1 RETURNING last_seq",
        [stream.name()],
        |row| row.get(0),
    )?;
    let mut line = line_start(seq);
    write!(line, "\"time\":\"{}\"", session.now).expect("writing to a string cannot fail");
    let head = [("run_id", Value::from(session.run_id)), ("host", Value::from(session.host))];
    let reserved = ["schema", "seq", "time", "run_id", "host"];
    let content = content.0.iter().map(|(key, value)| (key.as_str(), value));
    let content = content.filter(|(key, _)| !reserved.contains(key));
    for (key, value) in head.iter().map(|(key, value)| (*key, value)).chain(content) {
        write!(line, ",{}:{value}", Value::from(key)).expect("writing to a string cannot fail");
    }
    line.push_str("}\n");
    session.execute("INSERT INTO outbox VALUES (?1, ?2, ?3)", params![stream.name(), seq, line])?;
    session.n_lines.set(session.n_lines.get() + 1);
    Ok(())
}

/// How the line of that number begins, in any stream.
pub(crate) fn line_start(seq: i64) -> String {
    format!("{{\"schema\":{LINE_SCHEMA},\"seq\":{seq},")
}

pub(super) fn emit_alert(session: &Session<'_>, alert: &Alert) -> Result<(), LedgerError> {
    emit(session, Stream::Alerts, &alert_content(alert).with_all(&alert.fields))
}

/// The keys that every alert has.
pub(super) fn alert_content(alert: &Alert) -> Content {
    Content::default().with("kind", alert.kind.as_str()).with("text", alert.text.as_str())
}

/// An alert about a file, with the state that it has come to.
pub(super) fn file_alert(file: &FileRow, alert: &Alert) -> Content {
    alert_content(alert)
        .with("file", file.path.to_report())
        .with("root", file.root.as_str())
        .with("state", file.state.name())
        .with_all(&alert.fields)
}

/// Writes down that the lines up to `seq` are in their file, which is `written_bytes` long with them.
pub(super) fn advance(
    session: &Session<'_>,
    (stream, seq, written_bytes): (Stream, i64, u64),
) -> Result<(), LedgerError> {
    session.execute(
        "UPDATE cursor SET written_seq = ?2, written_bytes = ?3 WHERE stream = ?1",
        params![stream.name(), seq, written_bytes as i64],
    )?;
    session.execute("DELETE FROM outbox WHERE stream = ?1 AND seq <= ?2", params![stream.name(), seq])?;
    Ok(())
}
