//! The sidecar as the outcome source of an alloy-evm client.

use crate::{Client, ClientError, frame::Reason};
use alloy_primitives::B256;
use foreblock_precompile::{Outcome, Outcomes, Request, RequestId, check_input};
use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// How long a client waits, and how often it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Longest wait for an answer. What is later counts as missing, and its connection is given up.
    pub answer: Duration,
    /// Pause before another attempt to connect: until then nothing is asked, and nothing is waited for.
    pub reconnect: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer: Duration::from_millis(20), reconnect: Duration::from_millis(200) }
    }
}

/// Outcomes from a sidecar. A sidecar that is down, slow, of another chain or of another version has none, and the client goes on without
/// the transactions that ask; once the sidecar answers again, they are there again.
///
/// [`Outcomes::missing`] tells the sidecar what a builder missed. Use another source for execution that is no building.
#[derive(Debug)]
pub struct SidecarOutcomes {
    path: PathBuf,
    chain_id: u64,
    patience: Patience,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    clients: Vec<Client>,
    closed_until: Option<Instant>,
    /// Said once, until it is well again.
    complained: bool,
}

/// Connections kept, one for each thread that executes at once.
const IDLE_MAX: usize = 16;

impl SidecarOutcomes {
    /// The sidecar at this socket, which must be of this chain. Nothing is asked before the first lookup.
    pub fn new(path: impl Into<PathBuf>, chain_id: u64, patience: Patience) -> Self {
        Self { path: path.into(), chain_id, patience, idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Asks on a connection that is kept, or on a new one: a sidecar that was started anew has closed those that are kept.
    fn ask<T>(&self, ask: impl Fn(&mut Client) -> Result<T, ClientError>) -> Option<T> {
        loop {
            let kept = self.idle().clients.pop();
            let (mut client, old) = match kept {
                Some(client) => (client, true),
                None => (self.connect()?, false),
            };
            match ask(&mut client) {
                Ok(answer) => {
                    let mut idle = self.idle();
                    if idle.clients.len() < IDLE_MAX {
                        idle.clients.push(client);
                    }
                    return Some(answer);
                }
                // A refusal is an answer, and the connection goes on.
                Err(ClientError::Refused(reason, _)) if !reason.is_final() => {
                    self.idle().clients.push(client);
                    return None;
                }
                Err(ClientError::Silent(error)) if old && !is_late(&error) => {}
                Err(error) => {
                    self.close(&error);
                    return None;
                }
            }
        }
    }

    fn connect(&self) -> Option<Client> {
        if self.idle().closed_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        match Client::connect(&self.path, self.chain_id, self.patience.answer) {
            Ok(client) => {
                let mut idle = self.idle();
                idle.closed_until = None;
                if std::mem::take(&mut idle.complained) {
                    tracing::info!(path = %self.path.display(), "the sidecar answers again");
                }
                drop(idle);
                Some(client)
            }
            Err(error) => {
                self.close(&error);
                None
            }
        }
    }

    fn close(&self, error: &ClientError) {
        let mut idle = self.idle();
        idle.clients.clear();
        idle.closed_until = Some(Instant::now() + self.patience.reconnect);
        if !std::mem::replace(&mut idle.complained, true) {
            let lasting = matches!(error, ClientError::Refused(Reason::Version | Reason::Chain, _));
            tracing::warn!(%error, lasting, "building without inferences");
        }
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

impl Outcomes for SidecarOutcomes {
    fn get(&self, id: RequestId) -> Option<Outcome> {
        let outcome = self.ask(|client| client.lookup_one(id)).flatten()?;
        // No engine makes another output, and no list can carry one: a block with it would be invalid.
        match &outcome {
            Outcome::Output(output) if check_input(output).is_err() => None,
            _ => Some(outcome),
        }
    }

    fn missing(&self, request: &Request) {
        let _ = self.ask(|client| client.wanted(B256::ZERO, request.model, request.input.clone()));
    }
}
