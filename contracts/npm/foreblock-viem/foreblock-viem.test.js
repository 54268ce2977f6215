'use strict';

const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { test } = require('node:test');
const { createPublicClient, custom, encodeAbiParameters, encodeErrorResult, keccak256, stringToHex, toFunctionSelector } =
  require('viem');
const foreblock = require('./index.js');

const { outcomes } = JSON.parse(readFileSync(join(__dirname, '../../test/fixtures/outcomes.json')));
const MODEL = keccak256(stringToHex('model'));

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

test('waitForInference says what a transaction waits for', async () => {
  const waiting = client({
    eth_blockNumber: () => '0x1',
    eth_getTransactionByHash: () => null,
    eth_getTransactionReceipt: () => null,
    inference_status: (hash) => ({ hash, phase: 'waiting' }),
  });
  await assert.rejects(waiting.waitForInference({ hash: MODEL, timeout: 50 }), /not mined after 50 ms.*waiting/);
});
