//! The part of the store that survives: a redb database with the outcomes and the order in which they came.

use super::{Certified, StoreError, StoreLimits};
use alloy_primitives::{Address, Bytes, Signature};
use foreblock_precompile::{Certificate, Committee, Failure, FailureCode, Outcome, RequestId};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};
use std::path::Path;

type OutcomesTable<'a> = Table<'a, [u8; 32], (u64, &'static [u8])>;
type OrderTable<'a> = Table<'a, u64, ([u8; 32], u64)>;

/// Request id to its number and encoded outcome.
const OUTCOMES: TableDefinition<'_, [u8; 32], (u64, &[u8])> = TableDefinition::new("outcomes/v2");
/// Number, in order of arrival, to request id and encoded size in bytes.
const ORDER: TableDefinition<'_, u64, ([u8; 32], u64)> = TableDefinition::new("order/v2");
/// Memory that the database may use as its cache.
const CACHE_BYTES: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    limits: StoreLimits,
    /// Held while writing only: lookups never wait for a commit.
    count: Mutex<Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    next: u64,
    entries: u64,
    bytes: u64,
}

impl Disk {
    pub(super) fn open(directory: &Path, limits: StoreLimits) -> Result<Self, StoreError> {
        std::fs::create_dir_all(directory)
            .map_err(|source| StoreError::Directory { path: directory.into(), source })?;
        let path = directory.join("outcomes.redb");
        let opened = redb::Builder::new().set_cache_size(CACHE_BYTES).create(&path);
        let database = opened.map_err(|error| StoreError::Open { path: path.clone(), reason: error.to_string() })?;
        let counted = count(&database).map_err(|error| StoreError::Open { path, reason: error.to_string() })?;
        Ok(Self { database, limits, count: Mutex::new(counted) })
    }

    pub(super) fn get(&self, id: RequestId) -> Result<Option<Certified>, StoreError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(OUTCOMES)?;
            Ok(table.get(id.0)?.map(|entry| entry.value().1.to_vec()))
        };
        let encoded = read().map_err(|error| StoreError::Disk(error.to_string()))?;
        // What cannot be decoded was written by another version: it counts as missing and is computed again.
        Ok(encoded.and_then(|encoded| decode(&encoded)))
    }

    /// One transaction for all: when it returns they are on disk.
    pub(super) fn put(
        &self,
        outcomes: &[(RequestId, Certified)],
        committee: Option<&Committee>,
    ) -> Result<(), StoreError> {
        let mut count = self.count.lock();
        *count = self.try_put(outcomes, committee, *count).map_err(|error| StoreError::Disk(error.to_string()))?;
        Ok(())
    }

    fn try_put(
        &self,
        outcomes: &[(RequestId, Certified)],
        committee: Option<&Committee>,
        mut count: Count,
    ) -> Result<Count, redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(OUTCOMES)?;
            let mut order = write.open_table(ORDER)?;
            for (id, outcome) in outcomes {
                let present = table.get(id.0)?.map(|entry| {
                    let (number, encoded) = entry.value();
                    (number, encoded.len() as u64, decode(encoded).is_some_and(|present| present.counts(committee)))
                });
                match present {
                    Some((_, _, true)) => continue,
                    // It counts no more: its number goes, too, so that it is as new as what replaces it.
                    Some((number, size, false)) => {
                        order.remove(number)?;
                        count.entries -= 1;
                        count.bytes -= size;
                    }
                    None => {}
                }
                let encoded = encode(outcome);
                table.insert(id.0, (count.next, encoded.as_slice()))?;
                order.insert(count.next, (id.0, encoded.len() as u64))?;
                count.next += 1;
                count.entries += 1;
                count.bytes += encoded.len() as u64;
            }
            self.evict(&mut table, &mut order, &mut count)?;
        }
        write.commit()?;
        Ok(count)
    }

    /// Removes the first until the rest is within the bounds.
    fn evict(
        &self,
        table: &mut OutcomesTable<'_>,
        order: &mut OrderTable<'_>,
        count: &mut Count,
    ) -> Result<(), redb::Error> {
        while count.entries > self.limits.disk_entries_max || count.bytes > self.limits.disk_bytes_max {
            let Some((id, size)) = order.pop_first()?.map(|(_, value)| value.value()) else { break };
            table.remove(id)?;
            count.entries -= 1;
            count.bytes -= size;
        }
        Ok(())
    }

    pub(super) fn size(&self) -> (u64, u64) {
        let count = self.count.lock();
        (count.entries, count.bytes)
    }
}

/// Counts what is there, making the tables if they are not.
fn count(database: &Database) -> Result<Count, redb::Error> {
    let mut count = Count::default();
    let write = database.begin_write()?;
    {
        write.open_table(OUTCOMES)?;
        let order = write.open_table(ORDER)?;
        for entry in order.iter()? {
            let (number, value) = entry?;
            count.next = number.value() + 1;
            count.entries += 1;
            count.bytes += value.value().1;
        }
    }
    write.commit()?;
    Ok(count)
}

const SIGNATURE_BYTES: usize = 65;
const ADDRESS_BYTES: usize = 20;

/// `uint8 signers ‖ (signature ‖ signer) for each ‖ outcome`, where the outcome is `0x00 ‖ output`, or
/// `0x01 ‖ uint16 code ‖ reason`.
fn encode(certified: &Certified) -> Vec<u8> {
    let mut out = vec![certified.signers.len() as u8];
    for (signature, signer) in certified.certificate.signatures.iter().zip(&certified.signers) {
        out.extend(signature.as_bytes());
        out.extend(signer);
    }
    match &certified.outcome {
        Outcome::Output(output) => {
            out.push(0);
            out.extend(output);
        }
        Outcome::Failed(Failure { code, reason }) => {
            out.push(1);
            out.extend((*code as u16).to_be_bytes());
            out.extend(reason.as_bytes());
        }
    }
    out
}

fn decode(encoded: &[u8]) -> Option<Certified> {
    let (count, rest) = encoded.split_first()?;
    let (signed, outcome) = rest.split_at_checked(usize::from(*count) * (SIGNATURE_BYTES + ADDRESS_BYTES))?;
    let (mut signatures, mut signers) = (Vec::new(), Vec::new());
    for one in signed.chunks_exact(SIGNATURE_BYTES + ADDRESS_BYTES) {
        let (signature, signer) = one.split_at(SIGNATURE_BYTES);
        signatures.push(Signature::from_raw(signature).ok()?);
        signers.push(Address::from_slice(signer));
    }
    Some(Certified { outcome: decode_outcome(outcome)?, certificate: Certificate { signatures }, signers })
}

fn decode_outcome(encoded: &[u8]) -> Option<Outcome> {
    match encoded.split_first()? {
        (0, output) => Some(Outcome::Output(Bytes::copy_from_slice(output))),
        (1, rest) => {
            let (code, reason) = rest.split_at_checked(2)?;
            let code = FailureCode::try_from(u16::from_be_bytes(code.try_into().ok()?)).ok()?;
            Some(Outcome::Failed(Failure { code, reason: String::from_utf8(reason.into()).ok()? }))
        }
        _ => None,
    }
}
