//! A worker process as the node holds it: every wait has an end, and a dropped worker is a dead one.

use std::{
    io::BufReader,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::Duration,
};

use super::{
    OrtConfig, OrtError, WORKER_COMMAND,
    frame::{FromWorker, ToWorker, receive, send, skip_to_magic},
};

/// A message of at most so many bytes may be said while the worker still answers the one before: two of them fit into any pipe, so
/// that neither side ever waits for the other to read.
pub(super) const AHEAD_BYTES_MAX: usize = 16 << 10;

/// A worker process.
pub(super) struct Process {
    child: Child,
    /// `None` once writing failed.
    to: Option<ChildStdin>,
    from: Receiver<Vec<u8>>,
}

impl Process {
    /// Starts one.
    pub(super) fn start(config: &OrtConfig) -> Result<Self, OrtError> {
        let (program, arguments) = match &config.worker {
            Some((program, arguments)) => (program.clone(), arguments.clone()),
            None => (std::env::current_exe().unwrap_or_else(|_| "foreblock".into()), vec![WORKER_COMMAND.into()]),
        };
        let failed = |source| OrtError::Start { program: program.display().to_string(), source };
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // cuDNN uses TF32 whatever a session asks for, unless this says no.
        command.env("NVIDIA_TF32_OVERRIDE", "0");
        let mut child = command.spawn().map_err(failed)?;
        let (to, stdout) = (child.stdin.take(), child.stdout.take().expect("it is piped"));
        let (sender, from) = sync_channel(1);
        let read = move || {
            let mut stdout = BufReader::new(stdout);
            if !skip_to_magic(&mut stdout).unwrap_or(false) {
                return;
            }
            while let Ok(Some(message)) = receive(&mut stdout) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        };
        let mut process = Self { child, to, from };
        match std::thread::Builder::new().name("ort-worker-reader".into()).spawn(read) {
            Ok(_) => Ok(process),
            Err(source) => {
                process.kill();
                Err(failed(source))
            }
        }
    }

    /// Sends a message and waits for the answer. After an error the worker is dead.
    pub(super) fn ask(&mut self, message: &ToWorker, patience: Duration) -> Result<FromWorker, OrtError> {
        self.say(&message.write())?;
        self.hear(patience)
    }

    /// Sends a message, which is answered after those before it. After an error the worker is dead.
    pub(super) fn say(&mut self, message: &[u8]) -> Result<(), OrtError> {
        let sent = self.to.as_mut().is_some_and(|to| send(to, message).is_ok());
        if sent { Ok(()) } else { Err(self.died()) }
    }

    /// Waits for the next answer. After an error the worker is dead.
    pub(super) fn hear(&mut self, patience: Duration) -> Result<FromWorker, OrtError> {
        match self.from.recv_timeout(patience) {
            Ok(answer) => FromWorker::read(&answer).ok_or_else(|| {
                self.kill();
                OrtError::Died("answered no message".into())
            }),
            Err(RecvTimeoutError::Disconnected) => Err(self.died()),
            Err(RecvTimeoutError::Timeout) => {
                self.kill();
                Err(OrtError::TimedOut(patience))
            }
        }
    }

    /// The system's id of the process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn died(&mut self) -> OrtError {
        // Its output has ended, so it ends; where it does not, it is made to.
        let _ = self.child.kill();
        OrtError::Died(self.child.wait().map_or_else(|error| error.to_string(), |status| format!("ended ({status})")))
    }

    fn kill(&mut self) {
        self.to = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
