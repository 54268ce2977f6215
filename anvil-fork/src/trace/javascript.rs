//! Tracers in JavaScript, with the functions of geth's: `step`, `fault`, `enter`, `exit`, `setup` and `result`.
//!
//! A script is bounded by the request's time-out, which is looked at between its functions, and within one of them by
//! 200,000 rounds of each loop and 128 calls inside each other.

use crate::rpc::RpcError;
use alloy_rpc_types_trace::geth::{GethDebugTracerType, GethDebugTracingOptions};
use revm_inspectors::tracing::{
    DebugInspector,
    js::{JsInspector, JsInspectorError, JsInspectorInterrupt},
};
use std::time::Duration;

/// As geth, where a request names none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Goes around the tracer. The first error of one of its functions ends the trace, with the function's name as in geth, and
/// never reaches the transaction that is traced: without this it would revert. What the engine stops for a limit no script
/// can catch, so that function is still the running one when the result is asked for.
const GUARD: &str = r#"(function (tracer) {
  if (typeof tracer !== "object" || tracer === null) return tracer;
  var has = function (name) { return typeof tracer[name] === "function"; };
  if (has("enter") !== has("exit")) throw new TypeError("trace object must expose either both or none of enter() and exit()");
  var running = null, failure = null, guard = {};
  var call = function (name, first, second) {
    if (failure !== null || running !== null) return;
    running = name;
    try { var answer = tracer[name](first, second); }
    catch (error) { failure = String(error) + "    in server-side tracer function '" + name + "'"; }
    running = null;
    return answer;
  };
  ["step", "fault", "enter", "exit"].forEach(function (name) {
    if (has(name)) guard[name] = function (first, second) { call(name, first, second); };
  });
  guard.setup = has("setup") ? function (config) { tracer.setup(config); } : tracer.setup;
  if (has("result")) guard.result = function (context, db) {
    var stopped = running;
    if (stopped !== null) failure = "stopped at a limit    in server-side tracer function '" + stopped + "'";
    running = null;
    var answer = call("result", context, db);
    if (failure !== null) throw failure;
    return answer === undefined ? null : answer;
  };
  return guard;
})"#;

/// A script that is about to trace one transaction.
pub(super) struct Script {
    interrupt: JsInspectorInterrupt,
    timeout: Duration,
    watch: tokio::task::JoinHandle<()>,
}

impl Script {
    /// The inspector of a tracer in JavaScript, and what stops it in time; `None` where the tracer is another.
    pub(super) fn new(options: &GethDebugTracingOptions) -> Result<Option<(Self, DebugInspector)>, RpcError> {
        let Some(GethDebugTracerType::JsTracer(code)) = &options.tracer else { return Ok(None) };
        if code.is_empty() {
            return Ok(None);
        }
        let timeout = options.timeout.as_deref().map_or(Ok(TIMEOUT), duration)?;
        let interrupt = JsInspectorInterrupt::new();
        let config = options.tracer_config.clone().into_json();
        // The script begins on the first line, so that errors name its own lines.
        let guarded = format!("{}({code}\n)", GUARD.replace('\n', " "));
        let inspector = JsInspector::new(guarded, config).map_err(failed)?;
        let inspector = inspector.with_interrupt(interrupt.clone());
        let watched = interrupt.clone();
        let watch = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            watched.interrupt();
        });
        Ok(Some((Self { interrupt, timeout, watch }, DebugInspector::Js(inspector.into()))))
    }

    /// What came of the trace; the time-out's error in place of what it caused.
    pub(super) fn finish<T>(self, traced: Result<T, RpcError>) -> Result<T, RpcError> {
        if self.interrupt.is_interrupted() {
            return Err(RpcError::Internal(format!(
                "execution timeout: the tracer ran longer than {:?}",
                self.timeout
            )));
        }
        traced
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// A script that does not parse, that is not what geth takes for a tracer, or whose functions threw something.
pub(super) fn failed(error: JsInspectorError) -> RpcError {
    let text = error.to_string();
    // What follows is the engine's stack, which ends in the guard; a thrown text is shown as JavaScript writes it.
    let line = text.lines().next().unwrap_or_default();
    RpcError::Internal(line.trim_matches('"').to_owned())
}

/// A duration as Go writes it: `5s`, `300ms`, `1m30s`.
fn duration(text: &str) -> Result<Duration, RpcError> {
    let wrong = || RpcError::params(format!("timeout: expected a duration such as 5s or 300ms, got `{text}`"));
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return Err(wrong()),
        };
        seconds += number * unit;
        rest = &rest[letters..];
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, expected) in [
            ("5s", Some(5_000)),
            ("300ms", Some(300)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            ("", None),
            ("5", None),
            ("s", None),
            ("5 s", None),
            ("-1s", None),
            ("0s", None),
        ] {
            assert_eq!(duration(text).ok().map(|time| time.as_millis()), expected, "{text}");
        }
    }
}
