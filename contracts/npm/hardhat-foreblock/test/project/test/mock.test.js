import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { beforeEach, test } from 'node:test';
import { network } from 'hardhat';
import { encodeTensors, tensor } from 'hardhat-foreblock';
import { toFunctionSelector } from 'viem';
import { MODEL, deployAsker } from './asker.js';

let connection;
let mock;
let asker;

beforeEach(async () => {
  connection = await network.create();
  mock = await connection.foreblock.mock();
  asker = await deployAsker(connection);
});

test('the mock answers what it was told to', async () => {
  await mock.givesScore(MODEL, 0.25);
  await mock.answer(MODEL, [tensor('Wad', [1, 2])], [tensor('Wad', [7])]);
  await asker.send(MODEL, [1, 2]);
  assert.equal(await asker.score(), 7n * 10n ** 18n, 'the answer for this input');
  await asker.send(MODEL, [2, 1]);
  assert.equal(await asker.score(), 25n * 10n ** 16n, 'the answer for all others');
});

test('a failure is a typed error', async () => {
  await mock.failAll(MODEL, 5, 'NaN in output 0');
  await assert.rejects(asker.simulate(MODEL, [1]), /InferenceFailed[\s\S]*NaN in output 0/);
  await mock.givesScore(MODEL, 1);
  await mock.fail(MODEL, [tensor('Wad', [3])], 4, 'out of range');
  await assert.rejects(asker.simulate(MODEL, [3]), /InferenceFailed[\s\S]*out of range/);
  await asker.simulate(MODEL, [4]);
});

test('a question that nobody scripted is refused', async () => {
  await mock.answer(MODEL, [tensor('Wad', [1])], [tensor('Wad', [1])]);
  await assert.rejects(asker.simulate(MODEL, [2]), new RegExp(toFunctionSelector('NothingScripted(bytes32,bytes)')));
  await assert.rejects(asker.simulate(`0x${'11'.repeat(32)}`, [1]), /UnknownModel/);
});

test('recorded outcomes are replayed', async () => {
  const file = new URL('./recorded.json', import.meta.url);
  const input = encodeTensors([tensor('Wad', [1])]);
  const other = encodeTensors([tensor('Wad', [2])]);
  const outcomes = [
    { model: MODEL, input, output: encodeTensors([tensor('Wad', ['0.5'])]) },
    { model: MODEL, input: other, failure: { code: 5, reason: 'NaN' } },
  ];
  await writeFile(file, JSON.stringify({ outcomes }));
  assert.equal(await mock.replay(file), 2);
  await asker.send(MODEL, [1]);
  assert.equal(await asker.score(), 5n * 10n ** 17n);
  await assert.rejects(asker.simulate(MODEL, [2]), /InferenceFailed[\s\S]*NaN/);
});

test('without the precompile the library says so', async () => {
  await mock.givesScore(MODEL, 1);
  await mock.remove();
  await assert.rejects(asker.simulate(MODEL, [1]), /InferenceUnavailable/);
});

test('scripting leaves the accounts of the user alone', async () => {
  const other = await network.create();
  const { provider } = other;
  const [account] = await provider.request({ method: 'eth_accounts' });
  const state = () =>
    Promise.all(['eth_getTransactionCount', 'eth_getBalance'].map((method) => provider.request({ method, params: [account, 'latest'] })));
  const before = await state();
  await (await other.foreblock.mock()).givesVector(MODEL, [1, 2, 3]);
  assert.deepEqual(await state(), before);
});
