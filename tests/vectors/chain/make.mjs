// Makes the chains beside this file with ethereumjs, an implementation of its own: blocks, roots and hashes that Foreblock
// has no part in. Run it with the packages @ethereumjs/vm and @ethereumjs/blockchain 10.1.3 installed:
//
//   node make.mjs FOLDER    writes merged.json, merged.rlp.hex, mined.json and mined.rlp.hex there
import { createBlockchain } from '@ethereumjs/blockchain';
import { createCommonFromGethGenesis, parseGethGenesisState } from '@ethereumjs/common';
import { MerklePatriciaTrie } from '@ethereumjs/mpt';
import { MerkleStateManager } from '@ethereumjs/statemanager';
import { createTx } from '@ethereumjs/tx';
import { bytesToHex, createAddressFromPrivateKey, eoaCode7702SignAuthorization, generateAddress, hexToBytes } from '@ethereumjs/util';
import { buildBlock, createVM } from '@ethereumjs/vm';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2];
// The second key of the usual test phrase.
const key = hexToBytes('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d');
const sender = createAddressFromPrivateKey(key);
const authority = hexToBytes('0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a');
const coinbase = '0x00000000000000000000000000000000000c01ba';
const stranger = '0x00000000000000000000000000000000000a11ce';

// Counts in slot 0, logs the count, and clears slot 1, which its constructor sets to 7: storage, refunds and logs.
const RUNTIME = '60016000540180600055600052602060002060206000a160006001550000';
const COUNTER = `0x600760015560${(RUNTIME.length / 2).toString(16)}601160003960${(RUNTIME.length / 2).toString(16)}6000f3${RUNTIME}`;
// SELFDESTRUCT to the caller while it is created.
const SHORT_LIVED = '0x33ff';

const alloc = {
  [sender.toString()]: { balance: '0x3635c9adc5dea00000' },
  [stranger]: { balance: '0x1', nonce: '0x5', code: '0x6001600055', storage: { '0x0000000000000000000000000000000000000000000000000000000000000002': '0x0000000000000000000000000000000000000000000000000000000000000003' } },
};
const SYSTEM = JSON.parse(readFileSync(new URL('system-contracts.json', import.meta.url)));

/** Blocks on a genesis, each of the transactions that `plan` gives for its number. */
async function make(name, genesis, seconds, plan) {
  const common = createCommonFromGethGenesis(genesis, { chain: name, customCrypto: { kzg: {} } });
  const stateManager = new MerkleStateManager({ trie: new MerklePatriciaTrie({ useKeyHashing: true, common }), common });
  await stateManager.generateCanonicalGenesis(parseGethGenesisState(genesis));
  const root = await stateManager.getStateRoot();
  common.setHardforkBy({ blockNumber: 0n, timestamp: BigInt(genesis.timestamp) });
  const blockchain = await createBlockchain({ common, validateBlocks: false, validateConsensus: false, genesisStateRoot: root, genesisState: parseGethGenesisState(genesis) });
  const vm = await createVM({ common, blockchain, stateManager });
  let [parent, nonce, raw] = [blockchain.genesisBlock, 0n, []];
  const hashes = [bytesToHex(parent.hash())];
  for (let number = 1n; plan[Number(number) - 1] !== undefined; number++) {
    const timestamp = parent.header.timestamp + BigInt(seconds);
    common.setHardforkBy({ blockNumber: number, timestamp });
    const { transactions, withdrawals, beaconRoot } = plan[Number(number) - 1];
    const merged = genesis.config.terminalTotalDifficulty !== undefined;
    const builder = await buildBlock(vm, {
      parentBlock: parent,
      headerData: {
        timestamp, coinbase, // London doubles it.
        gasLimit: parent.header.gasLimit * (common.isActivatedEIP(1559) && parent.header.baseFeePerGas === undefined ? 2n : 1n),
        ...(merged ? { mixHash: `0x${'ab'.repeat(32)}` } : {}),
        ...(common.isActivatedEIP(4844) ? { parentBeaconBlockRoot: beaconRoot ?? `0x${'cd'.repeat(32)}`, excessBlobGas: parent.header.excessBlobGas === undefined ? 0n : parent.header.calcNextExcessBlobGas(common) } : {}),
      },
      ...(common.isActivatedEIP(4895) ? { withdrawals: withdrawals ?? [] } : {}),
      blockOpts: { ...(merged ? {} : { calcDifficultyFromHeader: parent.header }), putBlockIntoBlockchain: false, freeze: false },
    });
    for (const given of transactions) {
      const fees = 2n * (parent.header.baseFeePerGas ?? 1_000_000_000n) + 1_000_000_000n;
      const tx = given.type >= 2 ? { maxFeePerGas: fees * 2n, maxPriorityFeePerGas: 1_000_000_000n } : { gasPrice: fees * 2n };
      const signed = createTx({ gasLimit: 200_000n, nonce: nonce++, chainId: common.chainId(), ...tx, ...given }, { common: common.copy() }).sign(key);
      const { execResult, totalGasSpent } = await builder.addTransaction(signed, { skipHardForkValidation: true });
      console.log(name, Number(number), common.hardfork(), given.type, String(totalGasSpent), execResult.exceptionError?.error ?? 'ok');
    }
    const { block } = await builder.build();
    await blockchain.putBlock(block).catch(() => {});
    raw.push(block.serialize());
    hashes.push(bytesToHex(block.hash()));
    parent = block;
  }
  writeFileSync(join(folder, `${name}.json`), JSON.stringify({ ...genesis, hashes }, null, 2) + '\n');
  writeFileSync(join(folder, `${name}.rlp.hex`), raw.map((bytes) => bytesToHex(bytes).slice(2)).join('\n') + '\n');
}

const pay = (type = 0) => ({ type, to: stranger, value: 5n });
// Blocks hold the hashes only; the builder asks for blobs and does not look at them.
const blobs = (...bytes) => ({
  blobVersionedHashes: bytes.map((byte) => `0x01${byte.repeat(31)}`), networkWrapperVersion: 0,
  blobs: bytes.map(() => '0x00'), kzgCommitments: bytes.map(() => '0x00'), kzgProofs: bytes.map(() => '0x00'),
});
const create = (type = 0) => ({ type, data: COUNTER });

// From the merge on: Shanghai, then Cancun, then Prague, by time.
const start = 0x66000000;
const counter = bytesToHex(generateAddress(sender.bytes, Uint8Array.of(1)));
const access = [{ address: stranger, storageKeys: [`0x${'00'.repeat(31)}02`] }];
const withdrawal = { index: 0n, validatorIndex: 9n, address: stranger, amount: 1_000n };
const authorization = (chainId, to, nonce) => eoaCode7702SignAuthorization({ chainId, address: to, nonce }, authority);
await make('merged', {
  config: {
    chainId: 7331, homesteadBlock: 0, eip150Block: 0, eip155Block: 0, eip158Block: 0, byzantiumBlock: 0, constantinopleBlock: 0,
    petersburgBlock: 0, istanbulBlock: 0, berlinBlock: 0, londonBlock: 0, mergeNetsplitBlock: 0, terminalTotalDifficulty: 0, terminalTotalDifficultyPassed: true,
    shanghaiTime: start, cancunTime: start + 36, pragueTime: start + 72,
    blobSchedule: { cancun: { target: 3, max: 6, baseFeeUpdateFraction: 3338477 }, prague: { target: 6, max: 9, baseFeeUpdateFraction: 5007716 } },
  },
  nonce: '0x0', timestamp: `0x${start.toString(16)}`, extraData: '0x6d65', gasLimit: '0x1c9c380', difficulty: '0x0', mixHash: `0x${'00'.repeat(32)}`, coinbase: `0x${'00'.repeat(20)}`, baseFeePerGas: '0x3b9aca00',
  alloc: { ...alloc, ...SYSTEM },
}, 12, [
  { transactions: [pay(), create(2)] },
  { transactions: [{ type: 1, to: counter, accessList: access }, { type: 2, to: counter }, { type: 2, data: SHORT_LIVED, value: 3n }], withdrawals: [withdrawal] },
  { transactions: [{ type: 2, to: stranger, value: 1n }, { type: 0, to: counter, gasLimit: 22_000n }], withdrawals: [{ ...withdrawal, index: 1n }, { ...withdrawal, index: 2n, address: coinbase }] },
  { transactions: [{ type: 3, to: stranger, maxFeePerBlobGas: 100n, ...blobs('11', '22') }, { type: 2, data: SHORT_LIVED, value: 3n }], beaconRoot: `0x${'ef'.repeat(32)}` },
  { transactions: Array.from({ length: 3 }, () => ({ type: 3, to: counter, maxFeePerBlobGas: 100n, ...blobs('33', '44') })) },
  { transactions: [{ type: 2, to: counter }] },
  { transactions: [{ type: 4, to: stranger, authorizationList: [authorization('0x1ca3', counter, '0x0')] }, { type: 2, to: createAddressFromPrivateKey(authority).toString() }] },
  { transactions: [{ type: 2, to: '0x00000961ef480eb55e80d19ad83579a64c007002', value: 1n, data: `0x${'11'.repeat(48)}0000000000000005` }, { type: 2, to: '0x0000bbddc7ce488642fb579f8b00f3a590007251', value: 1n, data: `0x${'22'.repeat(96)}` }] },
  { transactions: [] },
]);

// Before the merge: one fork after the other (Constantinople was never alone on the main network), with the miner's reward.
await make('mined', {
  config: {
    chainId: 7332, homesteadBlock: 2, eip150Block: 3, eip155Block: 4, eip158Block: 4, byzantiumBlock: 5, constantinopleBlock: 6,
    petersburgBlock: 6, istanbulBlock: 8, berlinBlock: 9, londonBlock: 10,
  },
  nonce: '0x2a', timestamp: '0x56000000', extraData: '0x706f77', gasLimit: '0x1c9c380', difficulty: '0x20000', mixHash: `0x${'00'.repeat(32)}`, coinbase: `0x${'00'.repeat(20)}`,
  alloc,
}, 13, [
  { transactions: [pay(), create()] },
  ...Array.from({ length: 3 }, () => ({ transactions: [{ type: 0, to: counter }, { type: 0, data: SHORT_LIVED, value: 3n }, { type: 0, to: '0x0000000000000000000000000000000000000099' }] })),
  ...Array.from({ length: 4 }, () => ({ transactions: [{ type: 0, to: counter }, { type: 0, data: SHORT_LIVED, value: 3n }, create()] })),
  { transactions: [{ type: 1, to: counter, accessList: access }, pay()] },
  { transactions: [{ type: 2, to: counter }, { type: 1, to: counter, accessList: access }, pay()] },
  { transactions: [{ type: 2, data: SHORT_LIVED, value: 3n }] },
]);
