//! The unix socket that answers `binrelay status`, `continue`, `forget`, `reload`, `position`, `attach`, `missing` and `conflicts`: each client sends one JSON
//! object as a line, gets one as the answer, and the connection is closed. A client that sends nothing gets
//! the status.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::adoption::{Adoption, Answer, AttachRequest, MissingAnswer, MissingRequest};
use crate::config::SourceStart;
use crate::conflicts::ConflictReport;
use crate::fault;
use crate::receiver::{ContinueFrom, ContinueRequest, Wanted, has_changed_history};
use crate::status::{Parts, Report};

/// Time limit for one client to send its request, and to read its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for the answer to a request to attach a replica: files of a source and all commit
/// indexes may have to be read.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(3600);
/// The largest request that is accepted, in bytes.
const REQUEST_LEN_MAX: u64 = 16 * 1024 * 1024;
/// The largest answer that is accepted, in bytes.
const REPORT_LEN_MAX: u64 = 64 * 1024 * 1024;
/// A client that sends nothing within this time wants the status.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// The most clients whose requests are read, or whose answers are written, at the same time. Others wait.
const CLIENTS_MAX: usize = 16;
/// The most requests to decide, to attach, or for what a source lacks that wait for their results. Others are refused.
const WAITING_MAX: usize = 64;
/// Time limit for recording that a replica is forgotten.
const FORGET_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for reading the configuration and the files that it names, and for changing the sources: each may take
/// two minutes if the relay is busy.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// Time limit for a decision about a source.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(120);

/// How a source continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContinueOrder {
    /// Its name.
    pub source: String,
    /// A position, as `start` in the configuration; null is where it was.
    pub at: Option<String>,
    /// Whether its changed history is accepted.
    pub new_history: bool,
    /// MariaDB: whether transactions before the position that the log lacks are skipped.
    #[serde(default)]
    pub skip_missing: bool,
}

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The status.
    Status,
    /// A decision about a source.
    Continue(ContinueOrder),
    /// Where a replica continues; for an [`Answer`].
    Attach(AttachRequest),
    /// What a source lacks; for a [`MissingAnswer`].
    Missing(MissingRequest),
    /// The conflicts of the sources; for a [`ConflictReport`].
    Conflicts,
    /// A replica does not come back.
    Forget {
        /// Its server_id.
        server_id: u32,
    },
    /// The configuration is read again; for a [`Reloaded`].
    Reload,
}

/// The answer to a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// What was decided.
    Done(String),
    /// Why it was refused.
    Refused(String),
}

/// The answer to a request to read the configuration again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reloaded {
    /// It is in effect, but for what needs a restart: a line for each setting.
    Done {
        /// Settings that have changed.
        changed: Vec<String>,
        /// Settings that differ from those of the running relay until it is restarted.
        restart: Vec<String>,
        /// Settings that are allowed but probably not intended.
        warnings: Vec<String>,
        /// Changes of sources that were not carried out in time: they are as soon as the relay can.
        late: Vec<String>,
    },
    /// Nothing was changed: a line for each problem, with file, line and key.
    Refused(String),
}

/// The parts of the relay that answer.
#[derive(Clone)]
pub struct Answering {
    /// The status.
    pub report: Arc<dyn Fn() -> Report + Send + Sync>,
    /// Where changed histories are recorded.
    pub data_dir: PathBuf,
    /// The sources and their conflicts.
    pub parts: Arc<Parts>,
    /// Finds where replicas continue.
    pub adoption: Arc<Adoption>,
    /// Disconnects all replicas; they connect again by themselves.
    pub disconnect_replicas: Arc<dyn Fn() + Send + Sync>,
    /// Forgets the missing replicas with a server_id. It blocks.
    pub forget: Arc<dyn Fn(u32) -> Decided + Send + Sync>,
    /// Reads the configuration again. It blocks.
    pub reload: Arc<dyn Fn() -> Reloaded + Send + Sync>,
}

/// Whether the socket of a killed relay is at the path.
///
/// # Errors
/// When another relay answers there, or something else exists there.
pub async fn is_left_over(path: &Path) -> io::Result<bool> {
    let in_use = |text| Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            in_use("a file that is not a socket exists there; set [admin] socket to another path")
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
            // A socket that is too busy to answer is still in use.
            _ => in_use("another binrelay answers there; set [admin] socket to another path"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens the socket. The socket of a killed relay is replaced; one that answers is not.
///
/// # Errors
/// When another relay answers there, or the socket cannot be created.
pub async fn listen(path: &Path) -> io::Result<UnixListener> {
    if is_left_over(path).await? {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers until the relay stops.
pub async fn serve(
    listener: UnixListener,
    answering: Answering,
    mut shutdown: watch::Receiver<bool>,
) {
    let limits = Limits::new();
    loop {
        let accepting = async {
            let turn = limits.clients.clone().acquire_owned().await;
            (turn, listener.accept().await)
        };
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        match accepted {
            (turn, Ok((client, _))) => {
                fault::inject("admin_loop");
                let (answering, limits) = (answering.clone(), limits.clone());
                tokio::spawn(async move {
                    let answered = answer(client, &answering, &limits, turn.ok()).await;
                    if let Err(error) = answered {
                        tracing::debug!("a client of the admin socket: {error}");
                    }
                });
            }
            (_, Err(error)) => {
                tracing::warn!("cannot accept a connection on the admin socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// How much is done at the same time.
#[derive(Debug, Clone)]
struct Limits {
    clients: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Limits {
    fn new() -> Self {
        Self {
            clients: Arc::new(Semaphore::new(CLIENTS_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }
}

/// The line that a client sends; empty if it sends nothing.
async fn read_request(reader: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(reader);
    let first = tokio::time::timeout(REQUEST_TIMEOUT, reader.fill_buf()).await;
    if matches!(first, Ok(Ok(bytes)) if !bytes.is_empty()) {
        let mut reader = reader.take(REQUEST_LEN_MAX);
        let reading = reader.read_until(b'\n', &mut line);
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, reading).await;
    }
    line
}

/// `turn` ends while a result is waited for.
async fn answer(
    mut client: UnixStream,
    answering: &Answering,
    limits: &Limits,
    turn: Option<OwnedSemaphorePermit>,
) -> io::Result<()> {
    let (reader, mut writer) = client.split();
    let line = read_request(reader).await;
    let request = match line.is_empty() {
        true => Ok(Request::Status),
        false => serde_json::from_slice(&line),
    };
    let waits = matches!(
        request,
        Ok(Request::Continue(_) | Request::Attach(_) | Request::Missing(_))
    );
    let _turn = turn.filter(|_| !waits);
    let waiting = waits.then(|| limits.waiting.try_acquire()).transpose();
    let mut json = match request {
        Ok(_) if waiting.is_err() => serde_json::to_vec(&Decided::Refused(format!(
            "{WAITING_MAX} other requests are waiting: repeat the command later"
        )))?,
        Ok(Request::Status) => serde_json::to_vec(&report(answering).await?)?,
        Ok(Request::Continue(order)) => serde_json::to_vec(&decide(answering, &order).await)?,
        Ok(Request::Attach(request)) => {
            serde_json::to_vec(&answering.adoption.answer(request).await)?
        }
        Ok(Request::Missing(request)) => {
            serde_json::to_vec(&answering.adoption.missing(request).await)?
        }
        Ok(Request::Conflicts) => {
            let conflicts = answering.parts.found_conflicts();
            let report = conflicts.map(|found| found.report());
            serde_json::to_vec(&report.unwrap_or_default())?
        }
        Ok(Request::Forget { server_id }) => {
            let forget = answering.forget.clone();
            let forgetting = tokio::task::spawn_blocking(move || forget(server_id));
            serde_json::to_vec(&forgetting.await.map_err(io::Error::other)?)?
        }
        Ok(Request::Reload) => {
            let reload = answering.reload.clone();
            let reloading = tokio::task::spawn_blocking(move || reload());
            serde_json::to_vec(&reloading.await.map_err(io::Error::other)?)?
        }
        Err(error) => serde_json::to_vec(&Decided::Refused(format!(
            "the request cannot be read ({error}): use a client of the relay's version"
        )))?,
    };
    json.push(b'\n');
    let writing = async {
        writer.write_all(&json).await?;
        writer.shutdown().await
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, writing).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// The status. It is made on a thread for blocking calls, because it reads files.
async fn report(answering: &Answering) -> io::Result<Report> {
    let report = answering.report.clone();
    let reporting = tokio::task::spawn_blocking(move || report());
    reporting.await.map_err(io::Error::other)
}

/// Has a source's receiver carry out a decision.
async fn decide(answering: &Answering, order: &ContinueOrder) -> Decided {
    let source = order.source.as_str();
    let refused = |text: String| Decided::Refused(text);
    let at = match order.at.as_deref().map(SourceStart::parse) {
        None => None,
        // Nothing would verify a GTID set.
        Some(None | Some(SourceStart::Gtid(_))) => {
            return refused("the position cannot be read".to_owned());
        }
        Some(Some(at)) => Some(at),
    };
    let sources = answering.parts.sources.now();
    let Some(found) = sources.iter().find(|one| one.config.name == source) else {
        return refused(format!(
            "the relay follows no source {source:?}; binrelay status lists its sources; after a change of the \
             configuration run binrelay reload"
        ));
    };
    let report = match report(answering).await {
        Ok(report) => report,
        Err(error) => return refused(error.to_string()),
    };
    if report.relay.state != "running" {
        let state = report.relay.state;
        return refused(not_recordable(&state));
    }
    if order.new_history
        && let Some(other) = behind(answering, &report, source)
    {
        return refused(format!(
            "the source {other} must have delivered everything first: it may still send transactions of the \
             former history, which would be mistaken for other transactions; wait until it is streaming and not behind, or \
             remove it from the configuration and run binrelay reload"
        ));
    }
    let (counted, counting) = oneshot::channel();
    let (answer, answered) = oneshot::channel();
    let request = ContinueRequest {
        from: ContinueFrom {
            at,
            new_history: order.new_history,
            counts_missing: true,
            skips_missing: order.skip_missing,
        },
        counted,
        wanted: Wanted::always(),
        answer,
    };
    // A task of its own: the decision may take longer than the command waits.
    let disconnect = answering.disconnect_replicas.clone();
    let disconnecting = tokio::spawn(async move {
        if counting.await.is_ok() {
            disconnect();
        }
    });
    let deciding = async {
        let sent = found.deciding.send(request).await;
        sent.map_err(|_| "the receiver has ended: restart the relay".to_owned())?;
        let answered = answered.await;
        // The replicas were disconnected when the command ends.
        let _ = disconnecting.await;
        answered.map_err(|_| "the relay is stopping".to_owned())?
    };
    match tokio::time::timeout(CONTINUE_TIMEOUT, deciding).await {
        Ok(Ok(text)) => Decided::Done(text),
        Ok(Err(text)) => refused(text),
        Err(_) => {
            refused("it takes longer than expected; binrelay status shows the result".to_owned())
        }
    }
}

/// Why nothing can be decided while the log is in another state than `running`.
fn not_recordable(state: &str) -> String {
    let remedy = match state {
        "disk_full" => "free disk space and repeat",
        _ => "see binrelay status",
    };
    format!("the relay log is in state {state}, so the decision cannot be recorded; {remedy}")
}

/// Another source than `source` that may have transactions that are not received. One whose transactions the log
/// refuses has sent everything before them, and one whose history has changed is decided on by itself.
fn behind(answering: &Answering, report: &Report, source: &str) -> Option<String> {
    let others = report.sources.iter().filter(|other| other.name != source);
    let mut behind = others.filter(|other| {
        let is_at_end = other.state == "streaming" && other.seconds_behind == Some(0);
        !is_at_end && !other.is_refused && !has_changed_history(&answering.data_dir, &other.name)
    });
    behind.next().map(|other| other.name.clone())
}

/// Asks the relay at `socket` for its status.
///
/// # Errors
/// When no relay answers there, or its answer cannot be read.
pub async fn ask(socket: &Path) -> io::Result<Report> {
    exchange(socket, &Request::Status, ANSWER_TIMEOUT).await
}

/// Asks the relay at `socket` for the conflicts of its sources.
///
/// # Errors
/// As [`ask`].
pub async fn ask_conflicts(socket: &Path) -> io::Result<ConflictReport> {
    exchange(socket, &Request::Conflicts, ANSWER_TIMEOUT).await
}

/// Asks the relay at `socket` to attach a replica.
///
/// # Errors
/// As [`ask`].
pub async fn ask_to_attach(socket: &Path, wanted: AttachRequest) -> io::Result<Answer> {
    exchange(socket, &Request::Attach(wanted), ATTACH_TIMEOUT).await
}

/// Asks the relay at `socket` what a source lacks.
///
/// # Errors
/// As [`ask`].
pub async fn ask_missing(socket: &Path, wanted: MissingRequest) -> io::Result<MissingAnswer> {
    exchange(socket, &Request::Missing(wanted), ATTACH_TIMEOUT).await
}

/// Has the relay at `socket` carry out a decision about a source.
///
/// # Errors
/// As [`ask`].
pub async fn ask_continue(socket: &Path, order: ContinueOrder) -> io::Result<Decided> {
    let limit = CONTINUE_TIMEOUT + ANSWER_TIMEOUT;
    exchange(socket, &Request::Continue(order), limit).await
}

/// Has the relay at `socket` forget the missing replicas with this server_id.
///
/// # Errors
/// As [`ask`].
pub async fn ask_to_forget(socket: &Path, server_id: u32) -> io::Result<Decided> {
    let limit = FORGET_TIMEOUT + ANSWER_TIMEOUT;
    exchange(socket, &Request::Forget { server_id }, limit).await
}

/// Has the relay at `socket` read its configuration again.
///
/// # Errors
/// As [`ask`].
pub async fn ask_to_reload(socket: &Path) -> io::Result<Reloaded> {
    exchange(socket, &Request::Reload, RELOAD_TIMEOUT + ANSWER_TIMEOUT).await
}

/// Sends a request; returns the answer.
async fn exchange<T: DeserializeOwned>(
    socket: &Path,
    request: &Request,
    limit: Duration,
) -> io::Result<T> {
    let asking = async {
        let mut client = UnixStream::connect(socket).await?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        client.write_all(&line).await?;
        let mut json = Vec::new();
        client.take(REPORT_LEN_MAX).read_to_end(&mut json).await?;
        Ok(serde_json::from_slice(&json)?)
    };
    match tokio::time::timeout(limit, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} seconds", limit.as_secs()),
        )),
    }
}

#[cfg(test)]
mod tests;
