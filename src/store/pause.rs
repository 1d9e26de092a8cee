//! Whether the service is to pause: kept in the ledger, so that it outlives the process, is written by the one writer and
//! is read by whoever looks at the ledger.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::reader::LedgerReader;
use super::session::Session;
use crate::store::LedgerError;

/// A pause: nothing new is taken up until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "PauseText", try_from = "PauseText")]
pub struct Pause {
    /// When it was asked for.
    pub since: SystemTime,
    /// When it ends by itself; `None` where it lasts until somebody resumes.
    pub until: Option<SystemTime>,
}

/// The key in the table `meta`.
const KEY: &str = "pause";

impl Pause {
    /// Whether it has ended by itself at this time.
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

pub(super) fn set(session: &Session<'_>, pause: Option<Pause>) -> Result<(), LedgerError> {
    let changed = match pause {
        Some(pause) => session.execute(
            "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [KEY, &serde_json::to_string(&pause).expect("times and names are JSON")],
        ),
        None => session.execute("DELETE FROM meta WHERE key = ?1", [KEY]),
    };
    changed.map(|_| ())
}

impl LedgerReader {
    /// The pause that holds now; one that has ended by itself is none.
    pub fn pause(&self) -> Result<Option<Pause>, LedgerError> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        let mut rows = statement.query([KEY])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let pause: Pause = serde_json::from_str(&row.get::<_, String>(0)?)
            .map_err(|error| LedgerError::Damaged(format!("the pause: {error}")))?;
        Ok((!pause.is_over(SystemTime::now())).then_some(pause))
    }
}

/// A pause as it is written: times as RFC 3339 in UTC.
#[derive(Serialize, Deserialize)]
struct PauseText {
    since: String,
    until: Option<String>,
}

impl From<Pause> for PauseText {
    fn from(pause: Pause) -> Self {
        let text = |time| humantime::format_rfc3339_millis(time).to_string();
        Self { since: text(pause.since), until: pause.until.map(text) }
    }
}

impl TryFrom<PauseText> for Pause {
    type Error = humantime::TimestampError;

    fn try_from(text: PauseText) -> Result<Self, Self::Error> {
        let time = |text: String| humantime::parse_rfc3339(&text);
        Ok(Self { since: time(text.since)?, until: text.until.map(time).transpose()? })
    }
}
