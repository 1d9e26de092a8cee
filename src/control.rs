//! The local control socket: one JSON request a line, one JSON answer a line. It lies in the state folder, whose mode
//! says who may connect.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json, to_value};

use crate::service::{OrderError, Watchtower, Which};
use crate::store::{OperatorVerdict, PixelDigest};

/// The socket's name in the state folder.
pub const SOCKET_FILE: &str = "control.sock";

/// What can be asked of a running service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How it stands.
    Status,
    /// Take up nothing new, for this many seconds or until told otherwise.
    Pause {
        /// Seconds; none is without end.
        for_s: Option<u64>,
    },
    /// Take up new files again.
    Resume,
    /// Walk the folders now, and say what was found; answered after the walk.
    Rescan {
        /// The name or the place of one root; none is all.
        root: Option<String>,
    },
    /// Try again what was given up.
    Retry {
        /// Which files.
        which: Which,
    },
    /// Remember what an operator says of two planes.
    Verdict {
        /// The digests of their pixels, as bytes.
        pixels: [PixelDigest; 2],
        /// What they are; none takes an earlier verdict back.
        says: Option<OperatorVerdict>,
    },
}

impl Request {
    /// How long an answer may take; a walk takes as long as it takes.
    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Rescan { .. } => None,
            Self::Retry { which: Which::All } => Some(Duration::from_secs(600)),
            _ => Some(Duration::from_secs(10)),
        }
    }
}

/// Answers one request line.
async fn answer(watchtower: Watchtower, line: String) -> Value {
    let followed = match serde_json::from_str(&line) {
        Ok(request) => follow(watchtower, request).await,
        Err(error) => Err(OrderError::NotUnderstood(error)),
    };
    followed.unwrap_or_else(|error| json!({ "error": error.to_string() }))
}

async fn follow(watchtower: Watchtower, request: Request) -> Result<Value, OrderError> {
    let answer = match request {
        Request::Status => blocking(move || Ok(to_value(watchtower.status())?)).await?,
        Request::Pause { for_s } => {
            let pause = move || watchtower.pause(for_s.map(Duration::from_secs));
            json!({ "pause": blocking(pause).await? })
        }
        Request::Resume => json!({ "ended": blocking(move || watchtower.resume()).await? }),
        Request::Rescan { root } => json!({ "roots": watchtower.rescan(root).await? }),
        Request::Retry { which } => {
            json!({ "retried": blocking(move || watchtower.retry(&which)).await?.len() })
        }
        Request::Verdict { pixels, says } => {
            json!({ "before": blocking(move || watchtower.judge(pixels, says)).await? })
        }
    };
    Ok(answer)
}

/// Does what waits for the ledger, off the runtime's workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OrderError> + Send + 'static,
) -> Result<T, OrderError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(OrderError::Failed(error.to_string())))
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
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(serve(stream, watchtower.clone()))),
                // too many open files, for one: whoever asks waits meanwhile
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
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
        let text = format!("{}\n", answer(watchtower.clone(), line).await);
        if writer.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Asks the service that works on this state folder; `None` when none does.
///
/// # Errors
/// When the socket may not be used, or whoever is behind it does not answer within its time (10 seconds for a short
/// question).
#[cfg(unix)]
pub fn ask(state_dir: &Path, request: &Request) -> std::io::Result<Option<Value>> {
    use std::io::{BufRead, BufReader, Error, ErrorKind, Write};
    let path = state_dir.join(SOCKET_FILE);
    let named = |kind: ErrorKind, what: &str| Error::new(kind, format!("{what}: {}", path.display()));
    let stream = match std::os::unix::net::UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(named(error.kind(), &format!("cannot use the socket ({error})"))),
    };
    stream.set_read_timeout(request.patience())?;
    stream.set_write_timeout(request.patience())?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    let mut text = String::new();
    let asked =
        (&stream).write_all(line.as_bytes()).and_then(|()| BufReader::new(&stream).read_line(&mut text));
    let ended = "the service ended before it answered";
    match asked {
        Ok(0) => return Err(named(ErrorKind::UnexpectedEof, ended)),
        Ok(_) => (),
        Err(error) => {
            return Err(match error.kind() {
                kind @ (ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let seconds = request.patience().unwrap_or_default().as_secs();
                    named(kind, &format!("the service did not answer within {seconds} s"))
                }
                kind @ (ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => named(kind, ended),
                kind => named(kind, &format!("no answer from the service ({error})")),
            });
        }
    }
    let answer = serde_json::from_str(&text);
    let answer = answer
        .map_err(|error| named(ErrorKind::InvalidData, &format!("cannot read the answer ({error})")))?;
    Ok(Some(answer))
}

/// Asks the service that works on this state folder; `None`, since there is no socket on this system.
///
/// # Errors
/// Never.
#[cfg(not(unix))]
pub fn ask(_state_dir: &Path, _request: &Request) -> std::io::Result<Option<Value>> {
    Ok(None)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn nobody_there_is_no_answer_and_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let ask = |path: &Path| ask(path, &Request::Status).unwrap();
        assert_eq!(ask(&folder.path().join("no such folder")), None);
        assert_eq!(ask(folder.path()), None);
        // whoever made this socket is gone
        drop(UnixListener::bind(folder.path().join(SOCKET_FILE)).unwrap());
        assert_eq!(ask(folder.path()), None);
    }

    #[test]
    fn a_service_that_ends_while_it_is_asked_is_said_so() {
        use std::io::{BufRead, BufReader, Write};
        for (answer, expected) in [("", "ended before it answered"), ("{\"pid\":", "cannot read the answer")]
        {
            let folder = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(folder.path().join(SOCKET_FILE)).unwrap();
            let service = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                BufReader::new(&stream).read_line(&mut String::new()).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let error = ask(folder.path(), &Request::Status).unwrap_err().to_string();
            service.join().unwrap();
            assert!(error.contains(expected) && error.contains(SOCKET_FILE), "{error}");
        }
    }

    #[test]
    fn a_socket_that_cannot_be_used_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(120));
        let error = ask(&long, &Request::Status).unwrap_err().to_string();
        assert!(error.contains("cannot use the socket") && error.contains(SOCKET_FILE), "{error}");
        let socket = folder.path().join(SOCKET_FILE);
        let _listener = UnixListener::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
        // root may use every socket, and then nobody answers it: that would take the whole patience
        if std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let error = ask(folder.path(), &Request::Status).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
            assert!(error.to_string().contains("cannot use the socket"), "{error}");
        }
    }
}
