//! What was said to be stored survives `kill -9`.

use alloy_primitives::{B256, Bytes, U256};
use foreblock_pre_executor::{Store, StoreLimits};
use foreblock_precompile::{Outcome, Outcomes};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

const DIRECTORY: &str = "FOREBLOCK_TEST_STORE";

fn id(number: u64) -> B256 {
    B256::from(U256::from(number))
}

fn outcome(number: u64) -> Outcome {
    Outcome::Output(Bytes::from(vec![number as u8; 100 + (number % 50) as usize]))
}

/// Not a test of its own: the process that is killed. It says each number once it is stored.
#[test]
fn writer() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = Store::open(Path::new(&directory), StoreLimits::default()).unwrap();
    for number in 0_u64.. {
        store.put(&[(id(number), outcome(number).into())]).unwrap();
        println!("stored {number}");
    }
}

#[test]
fn what_was_said_to_be_stored_survives_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let stored = lines.map_while(Result::ok).filter_map(|line| line.rsplit_once("stored ")?.1.parse::<u64>().ok());
        let last = stored.take(20 * round + round).last().expect("it stores something");
        child.kill().unwrap(); // SIGKILL on Unix
        child.wait().unwrap();

        let store = Store::open(directory.path(), StoreLimits::default()).expect("the file is whole");
        for number in 0..=last {
            assert_eq!(store.get(id(number)), Some(outcome(number)), "{number} of {last}, round {round}");
        }
    }
}
