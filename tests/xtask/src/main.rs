//! `cargo xtask`: everything a contributor or a CI machine does with this repository, one subcommand each.
#![forbid(unsafe_code)]

mod bench;
mod contracts;
mod cross;
mod lint;
mod process;
mod provision;
mod tally;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::workspace::Workspace;

/// What `cargo xtask` can do.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
enum Command {
    /// Fetch what the tests need (ONNX Runtime, Python and npm tools) by package name, pinned and checked by hash.
    Provision,
    /// Print the variables that tests read as shell exports: eval "$(cargo xtask env)".
    Env,
    /// Provision, then run every test: Rust, doc tests, forge, checked-in artifacts.
    Test(test::Args),
    /// Run the benchmark of one area and compare it with its targets.
    Bench(bench::Args),
    /// Build the contracts and compare them with the artifacts that are checked in.
    Contracts(contracts::Args),
    /// Compare the exact engine's answers on this processor and on emulated ones.
    Cross,
    /// Formatting, clippy, documentation and licences.
    Lint,
    /// What CI runs: lint, cross, test.
    Ci,
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command; false means that it ran to its end and something failed.
fn run(command: Command) -> anyhow::Result<bool> {
    let workspace = Workspace::find()?;
    match command {
        Command::Provision => provision::provision(&workspace).map(|_| true),
        Command::Env => provision::provision(&workspace).map(|tools| {
            tools.print_exports();
            true
        }),
        Command::Test(args) => test::test(&workspace, &args),
        Command::Bench(args) => bench::bench(&workspace, &args),
        Command::Contracts(args) => contracts::contracts(&workspace, &args),
        Command::Cross => cross::cross(&workspace),
        Command::Lint => lint::lint(&workspace),
        Command::Ci => {
            Ok(lint::lint(&workspace)? & cross::cross(&workspace)? & test::test(&workspace, &test::Args::default())?)
        }
    }
}
