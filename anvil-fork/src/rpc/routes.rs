//! The one table from names to methods.

use super::{
    Args, Reply, RpcError, blobs, blocks, call, cheats, debug, dump, erc20, estimate, evm, fees, filters, history,
    inference, logs, net, otterscan, parity, reorg, send, simulate, state, transactions, txpool, wallet,
};
use crate::node::Node;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;

macro_rules! routes {
    ($($($name:literal)|+ => $method:path,)+) => {
        /// Names of all methods, aliases included.
        pub const NAMES: &[&str] = &[$($($name,)+)+];

        /// Runs the method with this name.
        pub(super) async fn dispatch(node: &Arc<Node>, name: &'static str, args: Args) -> Reply<Box<RawValue>> {
            if let Some(producer) = node.config.producer.as_ref().filter(|_| !reads(name)) {
                return Err(RpcError::Unsupported(format!("this node follows {producer} and only reads: ask it for {name}")));
            }
            if let Some(answer) = history::answer(node, name, &args)? {
                return Ok(answer);
            }
            match name {
                $($($name)|+ => Box::pin(async { encode($method(node, args).await?) }).await,)+
                _ => Err(RpcError::Unsupported(format!("the method {name} does not exist"))),
            }
        }
    };
}

/// Whether a method leaves the chain as it is, so that a follower serves it.
fn reads(name: &str) -> bool {
    const WRITES: [&str; 5] = ["eth_send", "eth_sign", "eth_fill", "evm_", "personal_"];
    const GROUPS: [&str; 8] = ["web3_", "net_", "eth_", "debug_", "trace_", "txpool_", "ots_", "erigon_"];
    const INFERENCE: [&str; 5] =
        ["inference_models", "inference_status", "inference_callEnvelope", "inference_getList", "inference_getStart"];
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    INFERENCE.contains(&name) || begins(&GROUPS) && !begins(&WRITES)
}

fn encode<T: serde::Serialize>(answer: T) -> Reply<Box<RawValue>> {
    to_raw_value(&answer).map_err(|error| RpcError::Internal(error.to_string()))
}

routes! {
    "web3_clientVersion" => net::client_version,
    "web3_sha3" => net::sha3,
    "net_version" => net::version,
    "net_listening" => net::listening,
    "net_peerCount" => net::peer_count,
    "eth_protocolVersion" => net::protocol_version,
    "eth_syncing" => net::syncing,
    "eth_mining" => net::mining,
    "eth_hashrate" => net::hashrate,
    "eth_coinbase" => net::coinbase,
    "eth_getWork" | "eth_submitWork" | "eth_submitHashrate" => net::no_work,
    "eth_chainId" | "eth_networkId" => net::chain_id,
    "eth_config" => net::config,

    "eth_blockNumber" => blocks::number,
    "eth_getBlockByNumber" | "erigon_getHeaderByNumber" => blocks::by_number,
    "eth_getBlockByHash" => blocks::by_hash,
    "eth_getHeaderByNumber" => blocks::header_by_number,
    "eth_getHeaderByHash" => blocks::header_by_hash,
    "eth_getBlockReceipts" => blocks::receipts,
    "eth_getBlockTransactionCountByNumber" => blocks::count_by_number,
    "eth_getBlockTransactionCountByHash" => blocks::count_by_hash,
    "eth_getUncleCountByBlockNumber" | "eth_getUncleCountByBlockHash" => blocks::uncle_count,
    "eth_getUncleByBlockNumberAndIndex" | "eth_getUncleByBlockHashAndIndex" => blocks::uncle,

    "eth_getTransactionByHash" => transactions::by_hash,
    "eth_getTransactionByBlockHashAndIndex" => transactions::by_block_and_index,
    "eth_getTransactionByBlockNumberAndIndex" => transactions::by_block_and_index,
    "eth_getTransactionBySenderAndNonce" => transactions::by_sender_and_nonce,
    "eth_getTransactionReceipt" => transactions::receipt,
    "eth_getRawTransactionByHash" | "debug_getRawTransaction" => transactions::raw,
    "eth_getRawTransactionByBlockHashAndIndex" | "eth_getRawTransactionByBlockNumberAndIndex"
        => transactions::raw_by_block_and_index,
    "eth_pendingTransactions" => transactions::pending,

    "eth_sendTransaction" => send::transaction,
    "eth_sendRawTransaction" => send::raw,
    "eth_sendTransactionSync" => send::transaction_sync,
    "eth_sendRawTransactionSync" => send::raw_sync,
    "eth_sendUnsignedTransaction" | "eth_sendUnsigned" => send::unsigned,
    "eth_fillTransaction" => send::fill,
    "eth_signTransaction" => send::sign,

    "eth_accounts" | "eth_requestAccounts" | "personal_listAccounts" => wallet::accounts,
    "eth_sign" | "personal_sign" => wallet::sign,
    "eth_signTypedData_v4" | "eth_signTypedData" | "eth_signTypedData_v3" => wallet::sign_typed_data,

    "eth_getBalance" => state::balance,
    "eth_getTransactionCount" => state::nonce,
    "eth_getCode" => state::code,
    "eth_getStorageAt" => state::storage,
    "eth_getStorageValues" => state::storage_values,
    "eth_getAccount" => state::account,
    "eth_getAccountInfo" => state::account_info,
    "eth_getProof" => state::proof,

    "eth_call" => call::call,
    "eth_callMany" => call::call_many,
    "eth_simulateV1" => simulate::simulate,
    "eth_estimateGas" => estimate::gas,
    "eth_createAccessList" => estimate::access_list,

    "eth_gasPrice" => fees::gas_price,
    "eth_maxPriorityFeePerGas" => fees::tip,
    "eth_blobBaseFee" => fees::blob_base_fee,
    "eth_baseFee" => fees::base_fee,
    "eth_feeHistory" => fees::history,

    "eth_getLogs" => logs::get,
    "eth_newFilter" => filters::new_logs,
    "eth_newBlockFilter" => filters::new_blocks,
    "eth_newPendingTransactionFilter" => filters::new_pending,
    "eth_getFilterChanges" => filters::changes,
    "eth_getFilterLogs" => filters::logs,
    "eth_uninstallFilter" => filters::uninstall,

    "evm_mine" | "anvil_mine_one" => evm::mine_one,
    "anvil_mine" | "hardhat_mine" => evm::mine,
    "anvil_mine_detailed" | "evm_mine_detailed" => evm::mine_detailed,
    "evm_setAutomine" | "anvil_setAutomine" | "hardhat_setAutomine" => evm::set_automine,
    "anvil_getAutomine" | "hardhat_getAutomine" => evm::automine,
    "evm_setIntervalMining" | "anvil_setIntervalMining" => evm::set_interval,
    "anvil_getIntervalMining" => evm::interval,
    "evm_snapshot" | "anvil_snapshot" => evm::snapshot,
    "evm_revert" | "anvil_revert" => evm::revert,
    "anvil_rollback" => evm::rollback,
    "anvil_reorg" => reorg::reorg,
    "anvil_getBlobByHash" => blobs::by_hash,
    "anvil_getBlobsByTransactionHash" => blobs::of_transaction,
    "anvil_getGenesisTime" => blobs::genesis_time,
    "anvil_dealERC20" | "hardhat_dealERC20" | "anvil_setERC20Balance" => erc20::deal,
    "anvil_setERC20Allowance" => erc20::set_allowance,
    "evm_increaseTime" | "anvil_increaseTime" => evm::increase_time,
    "evm_setTime" | "anvil_setTime" => evm::set_time,
    "evm_setNextBlockTimestamp" | "anvil_setNextBlockTimestamp" => evm::set_next_timestamp,
    "anvil_setBlockTimestampInterval" | "evm_setBlockTimestampInterval" => evm::set_timestamp_interval,
    "anvil_removeBlockTimestampInterval" | "evm_removeBlockTimestampInterval" => evm::remove_timestamp_interval,
    "evm_setBlockGasLimit" | "anvil_setBlockGasLimit" => evm::set_gas_limit,

    "anvil_setBalance" | "hardhat_setBalance" | "tenderly_setBalance" => cheats::set_balance,
    "anvil_addBalance" | "hardhat_addBalance" | "tenderly_addBalance" => cheats::add_balance,
    "anvil_setCode" | "hardhat_setCode" => cheats::set_code,
    "anvil_setNonce" | "hardhat_setNonce" | "evm_setAccountNonce" => cheats::set_nonce,
    "anvil_setStorageAt" | "hardhat_setStorageAt" | "tenderly_setStorageAt" => cheats::set_storage,
    "anvil_setCoinbase" | "hardhat_setCoinbase" => cheats::set_coinbase,
    "anvil_setChainId" => cheats::set_chain_id,
    "anvil_setLoggingEnabled" | "hardhat_setLoggingEnabled" => cheats::set_logging,
    "anvil_setRpcUrl" => dump::set_rpc_url,
    "anvil_setMinGasPrice" | "hardhat_setMinGasPrice" => cheats::set_min_gas_price,
    "anvil_setNextBlockBaseFeePerGas" | "hardhat_setNextBlockBaseFeePerGas" => cheats::set_next_base_fee,
    "hardhat_setPrevRandao" | "anvil_setPrevRandao" => cheats::set_prevrandao,
    "anvil_impersonateAccount" | "hardhat_impersonateAccount" => cheats::impersonate,
    "anvil_impersonateSignature" => cheats::impersonate_signature,
    "anvil_stopImpersonatingAccount" | "hardhat_stopImpersonatingAccount" => cheats::stop_impersonating,
    "anvil_autoImpersonateAccount" | "hardhat_autoImpersonateAccount" => cheats::auto_impersonate,
    "anvil_dropTransaction" | "hardhat_dropTransaction" => cheats::drop_transaction,
    "anvil_dropAllTransactions" | "hardhat_dropAllTransactions" => cheats::drop_all,
    "anvil_removePoolTransactions" => cheats::drop_of_sender,
    "anvil_dumpState" | "hardhat_dumpState" => dump::dump_state,
    "anvil_loadState" | "hardhat_loadState" => dump::load_state,
    "anvil_reset" | "hardhat_reset" => dump::reset,
    "anvil_nodeInfo" => cheats::node_info,
    "anvil_metadata" | "hardhat_metadata" => cheats::metadata,

    "txpool_status" => txpool::status,
    "txpool_content" => txpool::content,
    "txpool_contentFrom" => txpool::content_from,
    "txpool_inspect" => txpool::inspect,

    "debug_traceTransaction" => debug::trace_transaction,
    "debug_traceCall" => debug::trace_call,
    "debug_traceCallMany" => debug::trace_call_many,
    "debug_traceBlockByNumber" | "debug_traceBlockByHash" => debug::trace_block_by_number,
    "debug_traceBlock" => debug::trace_block,
    "debug_codeByHash" => debug::code_by_hash,
    "debug_dbGet" => debug::db_get,
    "debug_storageRangeAt" => debug::storage_range,
    "debug_getRawHeader" => debug::raw_header,
    "debug_getRawBlock" => debug::raw_block,
    "debug_getRawReceipts" => debug::raw_receipts,

    "trace_transaction" => parity::transaction,
    "trace_get" => parity::get,
    "trace_block" => parity::block,
    "trace_replayTransaction" => parity::replay_transaction,
    "trace_replayBlockTransactions" => parity::replay_block,
    "trace_filter" => parity::filter,
    "trace_call" => parity::call,
    "trace_callMany" => parity::call_many,
    "trace_rawTransaction" => parity::raw_transaction,

    "ots_getApiLevel" => otterscan::api_level,
    "ots_hasCode" => otterscan::has_code,
    "ots_getInternalOperations" => otterscan::internal_operations,
    "ots_traceTransaction" => otterscan::trace_transaction,
    "ots_getTransactionError" => otterscan::transaction_error,
    "ots_getBlockDetails" => otterscan::block_details,
    "ots_getBlockDetailsByHash" => otterscan::block_details_by_hash,
    "ots_getBlockTransactions" => otterscan::block_transactions,
    "ots_searchTransactionsBefore" => otterscan::search_before,
    "ots_searchTransactionsAfter" => otterscan::search_after,
    "ots_getTransactionBySenderAndNonce" => otterscan::by_sender_and_nonce,
    "ots_getContractCreator" => otterscan::contract_creator,

    "inference_models" => inference::models,
    "inference_modelId" => inference::model_id,
    "inference_status" => inference::status,
    "inference_pending" => inference::pending,
    "inference_feeHistory" => inference::fee_history,
    "inference_callEnvelope" => inference::call_envelope,
    "inference_operators" => inference::operators,
    "inference_setFault" => inference::set_fault,
    "inference_evidence" => inference::evidence,
    "inference_getList" => inference::list,
    "inference_getStart" => inference::start,
}

#[cfg(test)]
mod tests {
    use super::NAMES;
    use std::collections::BTreeSet;

    #[test]
    fn the_documented_methods_are_those_that_are_there() {
        let page = include_str!("../../../docs/rpc.md");
        let documented: BTreeSet<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `") && line.contains("| done |"))
            .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split(','))
            .map(|name| name.trim().trim_matches('`'))
            .collect();
        let missing: Vec<_> = NAMES.iter().filter(|name| !documented.contains(*name)).collect();
        assert!(missing.is_empty(), "docs/rpc.md lacks {missing:?}");
        let subscriptions = ["eth_subscribe", "eth_unsubscribe", "inference_subscribe", "inference_unsubscribe"];
        let extra: Vec<_> =
            documented.iter().filter(|name| !NAMES.contains(name) && !subscriptions.contains(name)).collect();
        assert!(extra.is_empty(), "docs/rpc.md says these are done: {extra:?}");
        assert_eq!(NAMES.iter().collect::<BTreeSet<_>>().len(), NAMES.len(), "each name once");
    }
}
