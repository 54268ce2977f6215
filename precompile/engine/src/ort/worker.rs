//! The worker's side: one model, one message after the other.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::{
    frame::{FromWorker, MAGIC, ToWorker, receive, send},
    limits::Limits,
    session::{How, Session},
};

/// What the hidden subcommand `worker` runs: it serves the node at the other end of standard input and output until
/// that closes.
pub fn worker_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let (mut from, mut to) = (io::stdin().lock(), io::stdout());
    to.write_all(MAGIC)?;
    to.flush()?;
    let mut model: Option<(Session, Limits)> = None;
    while let Some(bytes) = receive(&mut from)? {
        let message = ToWorker::read(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no message"))?;
        drop(bytes);
        let answer = match message {
            ToWorker::Load { library, graph, weights, threads, device, optimization, limits } => {
                let limited = limits.set().and_then(|()| limits.renew_cpu());
                let loaded = limited.and_then(|()| {
                    Session::load(&library, graph.as_deref(), &weights, How { threads, device, optimization })
                });
                match loaded {
                    Ok(session) => {
                        let name = session.name().to_owned();
                        model = Some((session, limits));
                        FromWorker::Ready { name }
                    }
                    Err(reason) => FromWorker::Failed(reason),
                }
            }
            ToWorker::Run(tensors) => match &mut model {
                None => FromWorker::Failed("no model was loaded".into()),
                Some((session, limits)) => match limits.renew_cpu() {
                    Ok(()) => session.run(tensors),
                    Err(reason) => FromWorker::Failed(reason),
                },
            },
        };
        send(&mut to, &answer.write())?;
    }
    Ok(())
}
