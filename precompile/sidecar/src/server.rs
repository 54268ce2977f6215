//! The sidecar's end of the socket: a thread for each connection, since a lookup takes less time than handing it to another thread.

use crate::frame::{self, Answer, FrameError, Noted, Question, Reason, VERSION, write_outcomes};
use alloy_primitives::{Address, B256, Bytes};
use foreblock_precompile::{ModelId, Outcome, RequestId};
use std::{
    collections::HashMap,
    fs,
    io::{self, BufReader, Write},
    net::Shutdown,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// Most connections at once; one more is told so and closed.
pub const CONNECTIONS_MAX: usize = 256;

/// A client that takes no answers for so long is given up.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes read at once, and answers kept before they are written: many questions cost one turn through the kernel.
const BUFFER_BYTES: usize = 64 << 10;

/// Who the sidecar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Its node's chain.
    pub chain_id: u64,
    /// Where the precompile stands.
    pub precompile: Address,
}

/// What a server needs. A method that returns an error refuses that question; the connection goes on.
pub trait Answers: Send + Sync + 'static {
    /// Who this is.
    fn welcome(&self) -> Welcome;

    /// The outcome of a request, if there is one that counts.
    fn lookup(&self, id: RequestId) -> Option<Outcome>;

    /// A builder missed this request.
    fn wanted(&self, transaction: B256, model: ModelId, input: Bytes) -> Result<Noted, (Reason, String)>;

    /// The encoded list of a block that used these.
    fn list(&self, used: Vec<RequestId>) -> Result<Bytes, (Reason, String)>;

    /// JSON about itself.
    fn status(&self) -> Bytes;

    /// A case of the conformance suite.
    fn examine(&self, question: &[u8]) -> Result<Bytes, (Reason, String)> {
        let _ = question;
        Err((Reason::Unsupported, "this implementation takes no conformance cases".into()))
    }
}

/// A socket that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody listens there.
    #[error("another program listens on {}: stop it, or choose another --socket", .0.display())]
    Taken(PathBuf),
    /// Something else is there.
    #[error("{} is there and is no socket: it is left alone; choose another --socket", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {}: {source}; choose another --socket", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[derive(Default)]
struct Connections {
    streams: Mutex<HashMap<u64, UnixStream>>,
    next: AtomicU64,
    stopped: AtomicBool,
}

impl Connections {
    fn streams(&self) -> MutexGuard<'_, HashMap<u64, UnixStream>> {
        self.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A listening socket. Dropping it closes the socket and every connection, and removes the file.
pub struct Server {
    path: PathBuf,
    connections: Arc<Connections>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts listening. A socket that a killed sidecar left behind is replaced; one that somebody listens on is not. Only its owner may
    /// connect.
    pub fn start(path: &Path, answers: Arc<dyn Answers>) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Io { path: path.to_owned(), source };
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let server = Self { path: path.to_owned(), connections: Arc::default() };
        let connections = server.connections.clone();
        let accept = move || accept(&listener, &connections, &answers);
        thread::Builder::new().name("sidecar".to_owned()).spawn(accept).map_err(failed)?;
        Ok(server)
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.connections.streams().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.connections.stopped.store(true, Relaxed);
        // Wakes whoever accepts.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
        self.connections.streams().values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }
}

fn remove_stale(path: &Path) -> Result<(), ServeError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(ServeError::NoSocket(path.to_owned()));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(ServeError::Taken(path.to_owned()));
    }
    fs::remove_file(path).map_err(|source| ServeError::Io { path: path.to_owned(), source })
}

fn accept(listener: &UnixListener, connections: &Arc<Connections>, answers: &Arc<dyn Answers>) {
    for stream in listener.incoming() {
        if connections.stopped.load(Relaxed) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of file descriptors, most likely: others will close theirs.
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        if let Err(error) = take(stream, connections, answers) {
            tracing::debug!(%error, "a connection could not be taken");
        }
    }
}

fn take(mut stream: UnixStream, connections: &Arc<Connections>, answers: &Arc<dyn Answers>) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_PATIENCE))?;
    if connections.streams().len() >= CONNECTIONS_MAX {
        let mut out = Vec::new();
        Answer::Refused(Reason::Busy, format!("{CONNECTIONS_MAX} connections are open")).write(&mut out);
        return stream.write_all(&out);
    }
    let number = connections.next.fetch_add(1, Relaxed);
    connections.streams().insert(number, stream.try_clone()?);
    let (kept, answers) = (connections.clone(), answers.clone());
    let serve = move || {
        if let Err(error) = serve(stream, &*answers) {
            tracing::debug!(%error, "a connection ended");
        }
        kept.streams().remove(&number);
    };
    let started = thread::Builder::new().name(format!("sidecar {number}")).spawn(serve);
    started.map(drop).inspect_err(|_| drop(connections.streams().remove(&number)))
}

fn serve(stream: UnixStream, answers: &dyn Answers) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, stream);
    let (mut frame, mut out, mut greeted) = (Vec::new(), Vec::new(), false);
    loop {
        match frame::read(&mut reader, &mut frame) {
            Ok(true) => {}
            Ok(false) => return writer.write_all(&out),
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    Answer::Refused(Reason::Malformed, error.to_string()).write(&mut out);
                    writer.write_all(&out)?;
                }
                return Err(error);
            }
        }
        let goes_on = answer(answers, &frame, &mut greeted, &mut out);
        // While questions are here that nobody has to wait for, their answers go out together.
        if !goes_on || !has_frame(reader.buffer()) || out.len() >= BUFFER_BYTES {
            writer.write_all(&out)?;
            out.clear();
        }
        if !goes_on {
            return Ok(());
        }
    }
}

fn has_frame(buffer: &[u8]) -> bool {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else { return false };
    rest.len() >= u32::from_be_bytes(*length) as usize
}

/// Appends the answer; whether the connection goes on.
fn answer(answers: &dyn Answers, frame: &[u8], greeted: &mut bool, out: &mut Vec<u8>) -> bool {
    let question = match Question::read(frame) {
        Ok(Question::Hello { version, chain_id }) => {
            let welcome = greet(answers, version, chain_id);
            *greeted = matches!(welcome, Answer::Welcome { .. });
            welcome.write(out);
            return *greeted;
        }
        Ok(question) => question,
        Err(error @ FrameError::Kind(_)) if *greeted => {
            Answer::Refused(Reason::Unknown, error.to_string()).write(out);
            return true;
        }
        Err(error) => {
            Answer::Refused(Reason::Malformed, error.to_string()).write(out);
            return false;
        }
    };
    if !*greeted {
        Answer::Refused(Reason::Malformed, "a connection begins with a hello".into()).write(out);
        return false;
    }
    let refused = |(reason, words)| Answer::Refused(reason, words);
    match question {
        Question::Lookup(ids) => {
            write_lookup(answers, &ids, out);
            return true;
        }
        Question::Wanted { transaction, model, input } => {
            answers.wanted(transaction, model, input).map_or_else(refused, Answer::Noted)
        }
        Question::List(used) => answers.list(used).map_or_else(refused, Answer::Listed),
        Question::Status => Answer::State(answers.status()),
        Question::Examine(json) => answers.examine(&json).map_or_else(refused, Answer::Examined),
        Question::Hello { .. } => unreachable!("a hello was answered above"),
    }
    .write(out);
    true
}

/// Outcomes that together are longer than a frame may be read as missing from there on: they are to be asked again.
fn write_lookup(answers: &dyn Answers, ids: &[RequestId], out: &mut Vec<u8>) {
    let mut left = frame::BYTES_MAX - ids.len() * 8;
    let fitting = |id: &RequestId| {
        let outcome = answers.lookup(*id)?;
        let length = match &outcome {
            Outcome::Output(output) => output.len(),
            Outcome::Failed(failure) => failure.reason.len(),
        };
        left = left.checked_sub(length)?;
        Some(outcome)
    };
    write_outcomes(out, ids.iter().map(fitting));
}

fn greet(answers: &dyn Answers, version: u16, chain_id: u64) -> Answer {
    let Welcome { chain_id: here, precompile } = answers.welcome();
    if version != VERSION {
        let words = format!("this sidecar speaks version {VERSION}, the client {version}: use releases that fit");
        return Answer::Refused(Reason::Version, words);
    }
    if chain_id != 0 && chain_id != here {
        let words = format!("this sidecar watches a node of chain {here}, the client is of {chain_id}");
        return Answer::Refused(Reason::Chain, words);
    }
    Answer::Welcome { version: VERSION, chain_id: here, precompile }
}
