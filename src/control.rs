//! The local control socket: one JSON request a line, one JSON answer a line. It lies in the state folder, whose mode
//! says who may connect.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::service::Watchtower;

/// The socket's name in the state folder.
pub const SOCKET_FILE: &str = "control.sock";

/// What can be asked of a running service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How it stands.
    Status,
}

/// Answers one request line.
fn answer(watchtower: &Watchtower, line: &str) -> String {
    let answer = match serde_json::from_str(line) {
        Ok(Request::Status) => serde_json::to_value(watchtower.status()),
        Err(error) => Ok(serde_json::json!({ "error": format!("cannot understand the request: {error}") })),
    };
    answer.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() })).to_string()
}

/// Listens until the returned guard is dropped.
///
/// # Errors
/// When the socket cannot be made.
#[cfg(unix)]
pub fn listen(state_dir: &Path, watchtower: Watchtower) -> std::io::Result<Listening> {
    use std::os::unix::fs::PermissionsExt;
    let path = state_dir.join(SOCKET_FILE);
    // the lock of the ledger is held: whoever left a socket here is gone
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let listener = tokio::net::UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let watchtower = watchtower.clone();
            tokio::spawn(serve(stream, watchtower));
        }
    });
    Ok(Listening { path, task })
}

/// A listening socket; dropping it ends the listening and removes the socket.
#[cfg(unix)]
pub struct Listening {
    path: std::path::PathBuf,
    task: tokio::task::JoinHandle<()>,
}

#[cfg(unix)]
impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
        // a socket that stays behind is replaced at the next start
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
async fn serve(stream: tokio::net::UnixStream, watchtower: Watchtower) {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
    const REQUEST_BYTES_MAX: u64 = 64 * 1024;
    let (reader, mut writer) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(reader.take(REQUEST_BYTES_MAX)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let watchtower = watchtower.clone();
        let Ok(mut text) = tokio::task::spawn_blocking(move || answer(&watchtower, &line)).await else {
            return;
        };
        text.push('\n');
        if writer.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Asks the service that works on this state folder; `None` when none does.
///
/// # Errors
/// When one is there but does not answer within 10 seconds.
#[cfg(unix)]
pub fn ask(state_dir: &Path, request: &Request) -> std::io::Result<Option<serde_json::Value>> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let Ok(stream) = std::os::unix::net::UnixStream::connect(state_dir.join(SOCKET_FILE)) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    (&stream).write_all(line.as_bytes())?;
    let mut text = String::new();
    BufReader::new(&stream).read_line(&mut text)?;
    Ok(Some(serde_json::from_str(&text)?))
}
