//! `foreblock`: flags become a configuration, which makes a node; see `cli`.

use clap::{CommandFactory, Parser};
use foreblock::cli::{
    Command, Config, Flags, NodeFlags, bench, doctor, model, run_audit, run_conformance, run_follower, run_node,
    run_operator, run_sidecar, setup,
};
use std::{io::IsTerminal, process::ExitCode};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let flags = Flags::parse();
    if matches!(flags.command, Some(Command::Worker)) {
        return foreblock_engine::ort::worker_main();
    }
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let node = match flags.command {
        None => flags.node,
        Some(Command::Node(node)) => *node,
        Some(Command::Model { place, command }) => return model(&place, command),
        Some(Command::Setup { place, cuda }) => return setup(&place, cuda),
        Some(Command::Bench { place, command }) => return bench(&place, command),
        Some(Command::Doctor { place }) => return doctor(&place),
        Some(Command::Audit(audit)) => return run_audit(&audit),
        Some(Command::Conformance(conformance)) => return run_conformance(&conformance),
        Some(Command::Sidecar(sidecar)) => {
            log(&flags.node);
            return run_sidecar(&sidecar);
        }
        Some(Command::Operator(operator)) => {
            log(&flags.node);
            return run_operator(&operator);
        }
        Some(Command::Follow { url, checkpoint, node }) => {
            log(&node);
            return run_follower(Config::new(*node)?, &url, checkpoint);
        }
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Flags::command(), "foreblock", &mut std::io::stdout());
            return Ok(());
        }
        Some(Command::Worker) => unreachable!("a worker is started before this"),
    };
    log(&node);
    run_node(Config::new(node)?)
}

fn log(flags: &NodeFlags) {
    let default = match (flags.quiet, flags.verbosity) {
        (true, _) => "off",
        (_, 0) => "foreblock=info,foreblock_pre_executor=warn,foreblock_engine=warn",
        (_, 1) => "foreblock=debug,rpc=debug,foreblock_pre_executor=info,foreblock_engine=info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colour = match flags.color.as_str() {
        "always" => true,
        "never" => false,
        _ => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(colour);
    if flags.json { lines.json().init() } else { lines.init() }
}
