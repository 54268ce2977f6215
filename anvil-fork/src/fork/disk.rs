//! What an upstream told, kept for the next run: one line of JSON an answer, one file a block. A file is named by the block's
//! hash, so that another chain with the same id and height never shares it.

use super::UpstreamError;
use alloy_primitives::{Address, B256, Bytes, U256};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

/// Longest file, bytes; what comes later is not kept.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Entry {
    /// The fork block, as the upstream wrote it.
    Block {
        block: Value,
    },
    Account {
        address: Address,
        nonce: u64,
        balance: U256,
        code: Bytes,
    },
    Slot {
        address: Address,
        key: U256,
        value: U256,
    },
}

/// An open file.
#[derive(Debug)]
pub(super) struct Disk {
    file: Mutex<(File, u64)>,
}

fn folder(cache: &Path, chain_id: u64, number: u64) -> PathBuf {
    cache.join(chain_id.to_string()).join(number.to_string())
}

impl Disk {
    /// Opens a block's file, and reads it. Lines that a killed node left half written are skipped.
    pub(super) fn open(
        cache: &Path,
        chain_id: u64,
        number: u64,
        hash: B256,
    ) -> Result<(Self, Vec<Entry>), UpstreamError> {
        let path = folder(cache, chain_id, number).join(format!("{hash}.jsonl"));
        let failed = |error: std::io::Error| UpstreamError::Cache(path.clone(), error.to_string());
        fs::create_dir_all(folder(cache, chain_id, number)).map_err(failed)?;
        let text = if path.exists() { fs::read_to_string(&path).map_err(failed)? } else { String::new() };
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(failed)?;
        }
        let entries = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((Self { file: Mutex::new((file, text.len() as u64)) }, entries))
    }

    /// The only block of this number that was forked from before: what a start without network goes on from.
    pub(super) fn block(cache: &Path, chain_id: u64, number: u64) -> Option<Value> {
        let mut files = fs::read_dir(folder(cache, chain_id, number)).ok()?.flatten();
        let (file, None) = (files.next()?, files.next()) else { return None };
        let text = fs::read_to_string(file.path()).ok()?;
        text.lines().find_map(|line| match serde_json::from_str(line) {
            Ok(Entry::Block { block }) => Some(block),
            _ => None,
        })
    }

    /// Adds a line, all of it at once: two nodes may write one file.
    pub(super) fn note(&self, entry: &Entry) {
        let Ok(mut line) = serde_json::to_vec(entry) else { return };
        line.push(b'\n');
        let mut file = self.file.lock();
        if file.1 + line.len() as u64 > FILE_BYTES_MAX {
            return;
        }
        if let Err(error) = file.0.write_all(&line) {
            tracing::warn!(%error, "the fork's cache could not be written");
        }
        file.1 += line.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_costs_no_more_than_itself() {
        let folder = tempfile::tempdir().unwrap();
        let slot = |key| Entry::Slot { address: Address::ZERO, key: U256::from(key), value: U256::from(7) };
        let open = || Disk::open(folder.path(), 1, 5, B256::ZERO).unwrap();
        let (disk, entries) = open();
        assert!(entries.is_empty());
        disk.note(&slot(1));
        disk.note(&Entry::Block { block: serde_json::json!({ "number": "0x5" }) });
        let path = super::folder(folder.path(), 1, 5).join(format!("{}.jsonl", B256::ZERO));
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(br#"{"slot":{"address":"0x00"#).unwrap();
        let (disk, entries) = open();
        assert_eq!(entries.len(), 2);
        disk.note(&slot(2));
        assert_eq!(open().1.last(), Some(&slot(2)));
        assert_eq!(Disk::block(folder.path(), 1, 5).unwrap()["number"], "0x5");
        assert_eq!(Disk::block(folder.path(), 1, 6), None);
        assert!(Disk::open(folder.path(), 1, 5, B256::repeat_byte(1)).unwrap().1.is_empty(), "another chain");
    }
}
