//! Servers of the Open Inference Protocol that know nothing of Foreblock: MLServer and KServe, with ONNX Runtime behind them.

use crate::{node::free_port, tools};
use serde_json::json;
use std::{
    fs::{self, File},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest wait for a server to listen: Python imports much.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server, killed when dropped.
#[derive(Debug)]
pub struct OipServer {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl OipServer {
    /// Starts MLServer with one ONNX file under this name.
    pub fn mlserver(name: &str, model: &Path) -> Self {
        Self::start(|port, folder| {
            let settings = json!({
                "host": "127.0.0.1", "grpc_port": port, "http_port": free_port(), "metrics_endpoint": null,
                "parallel_workers": 0, "debug": false,
            });
            let model =
                json!({ "name": name, "implementation": "mlserver_onnx.OnnxModel", "parameters": { "uri": model } });
            for (file, content) in [("settings.json", settings), ("model-settings.json", model)] {
                fs::write(folder.join(file), content.to_string()).expect("settings can be written");
            }
            fs::copy(source("mlserver_onnx.py"), folder.join("mlserver_onnx.py")).expect("the runtime can be copied");
            let mut command = tools::mlserver();
            command.args(["start", "."]);
            command
        })
    }

    /// Starts KServe with one ONNX file under this name.
    pub fn kserve(name: &str, model: &Path) -> Self {
        Self::start(|port, _| {
            let mut command = tools::kserve();
            command.arg(source("kserve_onnx.py")).arg(model).args(["--model_name", name]);
            command.args(["--grpc_port", &port.to_string(), "--http_port", &free_port().to_string()]);
            command
        })
    }

    fn start(command: impl FnOnce(u16, &Path) -> Command) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let port = free_port();
        let log = File::create(folder.path().join("log")).expect("the log can be made");
        let child = command(port, folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            .spawn()
            .expect("the server can be started");
        Self { child, port, folder }
    }

    /// Where an operator finds it.
    pub fn url(&self) -> String {
        format!("oip://127.0.0.1:{}", self.port)
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it listens.
    pub fn wait(&mut self) {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().expect("the server is a child");
            assert!(ended.is_none() && Instant::now() < end, "the server does not listen:\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for OipServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn source(file: &str) -> std::path::PathBuf {
    tools::workspace().join("tests/oip_servers").join(file)
}
