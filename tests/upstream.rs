//! What forks are made from in tests: a chain with a little on it, and a proxy that misbehaves on request.

use crate::{
    node::{ALICE, Node, PATIENCE, STRANGER, free_port},
    tools,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// One JSON-RPC call to any node, which must succeed.
pub fn rpc(url: &str, method: &str, params: Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer = post(url, &request).unwrap_or_else(|| panic!("{url} does not answer {method}"));
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].clone()
}

fn post(url: &str, request: &Value) -> Option<Value> {
    ureq::post(url).send_json(request).ok()?.body_mut().read_json().ok()
}

/// How the proxy answers one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This body, with HTTP status 200.
    Body(String),
    /// This HTTP status with this body.
    Status(u16, String),
    /// This result.
    Result(Value),
    /// This JSON-RPC error.
    Error(i64, &'static str),
    /// Nothing for so long, then the right answer.
    Slow(Duration),
    /// The connection is closed without an answer.
    Close,
    /// The right answer, of which the second half does not come.
    Half,
}

#[derive(Debug, Default)]
struct State {
    faults: Mutex<BTreeMap<String, (Fault, usize)>>,
    asked: Mutex<BTreeMap<String, usize>>,
}

/// A proxy in front of a good node.
#[derive(Clone, Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Passes everything on to `target`.
    pub fn start(target: &str) -> Self {
        Self::start_behind(target, Some)
    }

    /// The same behind TLS, with this certificate and key, DER; only [`Proxy::port`] is of use then.
    pub fn start_tls(target: &str, certificate: &[u8], key: &[u8]) -> Self {
        let key = PrivatePkcs8KeyDer::from(key.to_vec()).into();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("ring has them").with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.to_vec().into()], key).expect("the key fits");
        let config = Arc::new(config);
        Self::start_behind(target, move |stream| {
            let connection = ServerConnection::new(config.clone()).ok()?;
            Some(StreamOwned::new(connection, stream))
        })
    }

    fn start_behind<S: Read + Write>(
        target: &str,
        accept: impl Fn(TcpStream) -> Option<S> + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let proxy = Self { port, state: Arc::default() };
        let (served, target) = (proxy.clone(), target.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, target, accept) = (served.clone(), target.clone(), accept.clone());
                thread::spawn(move || accept(stream).map(|stream| served.serve(stream, &target)));
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// On which port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on this method is answered so, this many times.
    pub fn fail(&self, method: &str, fault: Fault, times: usize) {
        self.state.faults.lock().unwrap().insert(method.to_owned(), (fault, times));
    }

    /// From now on all is answered well.
    pub fn heal(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// How often a method was asked.
    pub fn asked(&self, method: &str) -> usize {
        self.state.asked.lock().unwrap().get(method).copied().unwrap_or(0)
    }

    fn fault(&self, method: &str) -> Option<Fault> {
        *self.state.asked.lock().unwrap().entry(method.to_owned()).or_default() += 1;
        let mut faults = self.state.faults.lock().unwrap();
        let (fault, left) = faults.get_mut(method)?;
        *left = left.checked_sub(1)?;
        Some(fault.clone())
    }

    /// One request a connection: simple, and enough.
    fn serve(&self, mut stream: impl Read + Write, target: &str) {
        let Some(request) = read(&mut stream) else { return };
        let method = request["method"].as_str().unwrap_or_default();
        let fault = self.fault(method);
        let whole = |result: Value| json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string();
        let good = || post(target, &request).unwrap_or_default().to_string();
        let (status, body, cut) = match fault {
            None => (200, good(), false),
            Some(Fault::Body(body)) => (200, body, false),
            Some(Fault::Status(status, body)) => (status, body, false),
            Some(Fault::Result(result)) => (200, whole(result), false),
            Some(Fault::Error(code, message)) => {
                let error = json!({ "code": code, "message": message });
                (200, json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }).to_string(), false)
            }
            Some(Fault::Slow(time)) => {
                thread::sleep(time);
                (200, good(), false)
            }
            Some(Fault::Close) => return,
            Some(Fault::Half) => (200, good(), true),
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n");
        let sent = if cut { &body[..body.len() / 2] } else { body.as_str() };
        let _ = write!(stream, "{head}content-length: {}\r\n\r\n{sent}", body.len());
        let _ = stream.flush();
    }
}

fn read(stream: &mut impl Read) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let length = stream.read(&mut chunk).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&chunk[..length]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let wanted =
            head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok())?;
        if bytes.len() >= end + 4 + wanted {
            return serde_json::from_slice(&bytes[end + 4..end + 4 + wanted]).ok();
        }
    }
}

/// Returns the word in slot 0, or, when called with data, stores the data's first word there and logs it.
const KEEPER: &str = "36600f5760005460005260206000f35b6000358060005560005260206000a000";
/// Flags that fail soon.
pub const HASTY: [&str; 6] = ["--retries", "1", "--fork-retry-backoff", "10", "--timeout", "700"];

/// As a word of 32 bytes.
pub fn word(number: u64) -> String {
    format!("0x{number:064x}")
}

/// What `ask` gives as soon as it gives something.
pub fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "it did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the tests put on a chain before it is forked: money for a stranger, and a contract that keeps a word.
#[derive(Debug)]
pub struct Before {
    /// Where the node listens.
    pub url: String,
    /// The contract.
    pub keeper: String,
    /// The transaction that stored 7.
    pub stored: String,
}

impl Before {
    /// Puts it there.
    pub fn on(url: String) -> Self {
        let send = |tx: Value| rpc(&url, "eth_sendTransaction", json!([tx])).as_str().unwrap().to_owned();
        send(json!({ "from": ALICE, "to": STRANGER, "value": "0x1234" }));
        let deploy = send(
            json!({ "from": ALICE, "data": format!("0x60{0:02x}600c60003960{0:02x}6000f3{KEEPER}", KEEPER.len() / 2) }),
        );
        // Anvil answers before it mines.
        let keeper = eventually(|| {
            let receipt = rpc(&url, "eth_getTransactionReceipt", json!([deploy]));
            receipt["contractAddress"].as_str().map(str::to_owned)
        });
        let stored = send(json!({ "from": ALICE, "to": keeper, "data": word(7) }));
        eventually(|| (!rpc(&url, "eth_getTransactionReceipt", json!([stored])).is_null()).then_some(()));
        Self { url, keeper, stored }
    }

    /// One JSON-RPC call to the node, which must succeed.
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        rpc(&self.url, method, params)
    }
}

/// A node on a fork of `url` that gives up soon.
pub fn fork(url: &str, more: &[&str]) -> Node {
    Node::start(&[&["--fork-url", url], &HASTY[..], more].concat())
}

/// Runs a node that must not start; what it printed.
pub fn refused(args: &[&str]) -> String {
    let port = free_port().to_string();
    let output =
        tools::finish(process::Command::new(tools::foreblock()).args(["--port", &port]).args(HASTY).args(args));
    assert!(!output.status.success(), "the node started with {args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
