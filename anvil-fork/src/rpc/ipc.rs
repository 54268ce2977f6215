//! JSON-RPC on a Unix socket: requests follow each other with or without white space between, answers end in a line feed.

use super::server::ServeError;
use jsonrpsee::{Methods, RpcModule, types::ErrorCode};
use serde_json::{json, value::RawValue};
use std::{io, path::Path};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

/// Answers and notifications that wait for a slow reader.
const WAITING_MAX: usize = 1_024;

/// Starts listening. A socket that a killed node left behind is replaced; one that somebody listens on is not.
pub(super) fn serve<C: Send + Sync + 'static>(
    path: &Path,
    module: RpcModule<C>,
    batch_max: u32,
    request_bytes_max: u32,
) -> Result<(), ServeError> {
    let failed = |error: io::Error| ServeError::Ipc(path.to_owned(), error.to_string());
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(failed(io::Error::new(io::ErrorKind::AddrInUse, "another program listens on it")));
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let methods: Methods = module.into();
    let limits = Limits { batch: batch_max as usize, request_bytes: request_bytes_max as usize };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let methods = methods.clone();
            tokio::spawn(async move {
                if let Err(error) = connection(stream, &methods, limits).await {
                    tracing::debug!(%error, "an IPC connection ended");
                }
            });
        }
    });
    Ok(())
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    batch: usize,
    request_bytes: usize,
}

async fn connection(stream: UnixStream, methods: &Methods, limits: Limits) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let (answers, mut to_write) = mpsc::channel::<String>(WAITING_MAX);
    tokio::spawn(async move {
        while let Some(mut text) = to_write.recv().await {
            text.push('\n');
            if writer.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = Vec::new();
    loop {
        let mut chunk = [0; 16 << 10];
        let length = reader.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..length]);
        let (requests, rest) = split(&buffer);
        for request in requests {
            let answer = answer(methods, &request, limits, &answers).await;
            if answers.send(answer).await.is_err() {
                return Ok(());
            }
        }
        match rest {
            Some(at) => buffer.drain(..at),
            None => {
                // What is no JSON has no end: nothing after it can be understood.
                let _ = answers.send(error(ErrorCode::ParseError)).await;
                return Ok(());
            }
        };
        if buffer.len() > limits.request_bytes {
            let _ = answers.send(error(ErrorCode::OversizedRequest)).await;
            return Ok(());
        }
    }
}

/// The whole values at the beginning of `bytes`, and where the next begins; `None` where what follows is no JSON.
fn split(bytes: &[u8]) -> (Vec<Box<RawValue>>, Option<usize>) {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Box<RawValue>>();
    let mut whole = Vec::new();
    loop {
        let at = values.byte_offset();
        match values.next() {
            Some(Ok(value)) => whole.push(value),
            Some(Err(error)) if error.is_eof() => return (whole, Some(at)),
            Some(Err(_)) => return (whole, None),
            None => return (whole, Some(bytes.len())),
        }
    }
}

async fn answer(methods: &Methods, request: &RawValue, limits: Limits, answers: &mpsc::Sender<String>) -> String {
    if !request.get().starts_with('[') {
        return one(methods, request.get(), answers).await;
    }
    let Ok(batch) = serde_json::from_str::<Vec<&RawValue>>(request.get()) else {
        return error(ErrorCode::InvalidRequest);
    };
    if batch.is_empty() || batch.len() > limits.batch {
        return error(ErrorCode::InvalidRequest);
    }
    let mut texts = Vec::with_capacity(batch.len());
    for request in batch {
        texts.push(one(methods, request.get(), answers).await);
    }
    format!("[{}]", texts.join(","))
}

async fn one(methods: &Methods, request: &str, answers: &mpsc::Sender<String>) -> String {
    let Ok((answer, mut notifications)) = methods.raw_json_request(request, WAITING_MAX).await else {
        return error(ErrorCode::InvalidRequest);
    };
    let answers = answers.clone();
    tokio::spawn(async move {
        while let Some(notification) = notifications.recv().await {
            if answers.send(notification.get().to_owned()).await.is_err() {
                return;
            }
        }
    });
    answer.get().to_owned()
}

fn error(code: ErrorCode) -> String {
    json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code.code(), "message": code.message() } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_cut_where_they_end() {
        for (text, count, rest) in [
            (r#"{"id":1}"#, 1, Some(8)),
            (r#"{"id":1}{"id":2} {"id"#, 2, Some(16)),
            ("\n", 0, Some(1)),
            (r#"{"id":1} nonsense"#, 1, None),
            ("[1,", 0, Some(0)),
        ] {
            let (whole, at) = split(text.as_bytes());
            assert_eq!((whole.len(), at), (count, rest), "{text}");
        }
    }
}
