'use strict';

const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { test } = require('node:test');
const {
  createPublicClient, custom, encodeAbiParameters, encodeErrorResult, keccak256, parseAbi, stringToHex, toFunctionSelector,
} = require('viem');
const { formatAbiItem } = require('viem/utils');
const foreblock = require('./index.js');

const { outcomes } = JSON.parse(readFileSync(join(__dirname, '../../test/fixtures/outcomes.json')));
const MODEL = keccak256(stringToHex('model'));
const OTHER = keccak256(stringToHex('other'));

/** A client whose node answers by these functions. */
function client(methods) {
  const request = async ({ method, params }) => {
    if (!methods[method]) throw new Error(`unexpected ${method}`);
    return methods[method](...(params ?? []));
  };
  return createPublicClient({ transport: custom({ request }, { retryCount: 0 }) }).extend(foreblock.foreblockActions());
}

test('encodes as Solidity does', () => {
  assert.equal(foreblock.encodeTensors([foreblock.tensor('Wad', [1, -2n])]), outcomes[0].input);
  assert.equal(foreblock.encodeTensors([foreblock.tensor('Wad', ['0.25'])]), outcomes[0].output);
});

test('round trip of every dtype', () => {
  for (const [dtype, width] of Object.entries(foreblock.DTYPES)) {
    if (dtype === 'Text') continue;
    const signed = dtype === 'Wad' || dtype.startsWith('I');
    const max = (1n << BigInt(width * 8 - (signed ? 1 : 0))) - 1n;
    const edges = [0n, 1n, max, ...(signed ? [-1n, -max - 1n] : [])];
    const [decoded] = foreblock.decodeTensors(foreblock.encodeTensors([foreblock.tensor(dtype, edges)]));
    assert.deepEqual(foreblock.values(decoded), edges, dtype);
    assert.throws(() => foreblock.tensor(dtype, [max + 1n]), RangeError, dtype);
  }
});

test('round trip of texts', () => {
  const words = ['', 'grüß', '\u{1f600}'];
  assert.deepEqual(foreblock.values(foreblock.texts(words)), words);
  assert.deepEqual(foreblock.values(foreblock.text('one')), ['one']);
});

test('malformed tensors throw', () => {
  assert.throws(() => foreblock.tensor('Wad', [1, 2], [3]), /does not hold 2/);
  assert.throws(() => foreblock.tensor('Text', ['x']), /no dtype of numbers/);
  assert.throws(() => foreblock.values({ dtype: 'U16', shape: [2], data: '0x010203' }), /does not fit/);
  assert.throws(() => foreblock.values({ dtype: 'Text', shape: [1], data: '0x00000005aa' }), /beyond the data/);
  assert.throws(() => foreblock.values({ dtype: 'Text', shape: [1], data: '0x00000000aa' }), /behind the last/);
});

test('infer calls the precompile and reads the answer', async () => {
  const answers = client({
    eth_chainId: () => '0x7a69',
    eth_call: ({ to, data }) => {
      assert.equal(to.toLowerCase(), foreblock.INFERENCE_ADDRESS.toLowerCase());
      assert.equal(data.slice(0, 10), toFunctionSelector('run(bytes32,bytes)'));
      return encodeAbiParameters([{ type: 'bytes' }], [outcomes[0].output]);
    },
  });
  const [output] = await answers.infer({ model: MODEL, inputs: [foreblock.tensor('Wad', [1, -2n])] });
  assert.deepEqual(foreblock.numbers(output), [0.25]);
});

test('a failed inference is a typed error', async () => {
  const data = encodeErrorResult({ abi: foreblock.inferenceAbi, errorName: 'InferenceFailed', args: [5, 'NaN in output 0'] });
  const failing = client({
    eth_chainId: () => '0x7a69',
    eth_call: () => {
      throw Object.assign(new Error('execution reverted'), { code: 3, data });
    },
  });
  await assert.rejects(failing.infer({ model: MODEL, inputs: [] }), /InferenceFailed[\s\S]*NaN in output 0/);
});

test('the ABI is that of IInference.sol, and the declarations name the same', () => {
  const solidity = JSON.parse(readFileSync(join(__dirname, '../../abi/IInference.json')));
  const signatures = (abi) => abi.map((item) => formatAbiItem(item, { includeName: false })).sort();
  const kinds = (abi) => abi.filter(({ type }) => type === 'function' || type === 'error');
  assert.deepEqual(signatures(foreblock.inferenceAbi), signatures(kinds(solidity)));
  const declared = [...readFileSync(join(__dirname, 'index.d.ts'), 'utf8').matchAll(/^    '((?:error|function|struct) .*)',$/gm)];
  assert.deepEqual(parseAbi(declared.map(([, signature]) => signature)), foreblock.inferenceAbi);
});

test('waitForInference says what a transaction waits for', async () => {
  const call = (state, position) => ({ request: MODEL, model: OTHER, state, position });
  const waiting = client({
    eth_getTransactionReceipt: () => null,
    eth_getTransactionByHash: () => null,
    inference_status: (hash) => ({ hash, phase: 'waiting', predictedBlock: '0x11', calls: [call('queued', 3), call('ready')] }),
  });
  const { message, name, hash, status } = await waiting.waitForInference({ hash: MODEL, timeout: 50 }).catch((error) => error);
  assert.equal(name, 'InferenceTimeoutError');
  assert.equal(hash, MODEL);
  assert.equal(status.phase, 'waiting');
  assert.equal(
    message,
    `${MODEL} is not mined after 50 ms: it is waiting; 1 of 2 answers are not there ` +
      `(${MODEL.slice(0, 10)} of model ${OTHER.slice(0, 10)} is queued at place 3); expected in block 17`,
  );
});

test('waitForInference does not wait for what the node gave up, nor for what it forgot', async () => {
  const nothing = { eth_getTransactionReceipt: () => null, eth_getTransactionByHash: () => null };
  const given = client({ ...nothing, inference_status: (hash) => ({ hash, phase: 'expired', reason: 'not ready within 64 blocks' }) });
  await assert.rejects(given.waitForInference({ hash: MODEL }), { name: 'InferenceExpiredError', reason: 'not ready within 64 blocks' });
  const statuses = [{ phase: 'ready' }, null];
  const forgotten = client({ ...nothing, inference_status: () => statuses.shift() ?? null });
  await assert.rejects(forgotten.waitForInference({ hash: MODEL, pollingInterval: 1 }), /dropped, or replaced/);
});

test('watchInference without a WebSocket tells changes once and ends with the transaction', async () => {
  const statuses = ['waiting', 'deferred', 'deferred', 'ready', 'included', 'deferred'].map((phase) => ({ phase }));
  const asked = client({ inference_status: () => statuses.shift() });
  const heard = [];
  asked.watchInference({ hash: MODEL, onEvent: ({ event }) => heard.push(event), pollingInterval: 1 });
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(heard, ['deferred', 'ready']);
  assert.equal(statuses.length, 1, 'nobody asks on');
});

test('watchInference hands on what goes wrong, and asks again', async () => {
  let asked = 0;
  const failing = client({
    inference_status() {
      if (++asked === 1) throw new Error('no answer');
      return { phase: 'expired', reason: 'too old' };
    },
  });
  const errors = [];
  const event = await new Promise((resolve) =>
    failing.watchInference({ hash: MODEL, onEvent: resolve, onError: (error) => errors.push(error), pollingInterval: 1 }),
  );
  assert.deepEqual(event, { event: 'expired', transaction: MODEL, reason: 'too old' });
  assert.match(errors[0].message, /no answer/);
  assert.throws(() => failing.watchInference({ onEvent() {} }), /over a WebSocket/);
});
