import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { network } from 'hardhat';
import { InferenceExpiredError, InferenceTimeoutError, numbers, startDevnet, tensor, values } from 'hardhat-foreblock';
import { RETURNS, deployAsker } from './asker.js';

let connection;
let asker;

before(async () => {
  connection = await network.create('foreblock');
  asker = await deployAsker(connection);
});
after(() => connection.close());

test('a contract stores what the real model says', async () => {
  const { foreblock } = connection;
  const model = await foreblock.model('volatility');
  const hash = await asker.send(model, RETURNS);
  const receipt = await foreblock.waitForInference(hash, { timeoutMs: 30_000 });
  assert.equal(receipt.status, 'success');
  const [output] = await foreblock.infer(model, [tensor('Wad', RETURNS)]);
  assert.equal(await asker.score(), values(output)[0]);
  assert.ok(numbers(output)[0] > 0.001 && numbers(output)[0] < 0.2, 'a volatility');
});

test('a transaction waits for its answer, and its status says where it stands', async () => {
  const { provider, foreblock } = connection;
  await provider.request({ method: 'evm_setAutomine', params: [false] });
  const model = await foreblock.model('volatility');
  const hash = await asker.send(model, RETURNS.map((value) => value / 2));
  const late = await foreblock.waitForInference(hash, { timeoutMs: 50 }).catch((error) => error);
  assert.ok(late instanceof InferenceTimeoutError, late);
  assert.match(late.message, /is not mined after 50 ms: it is/);
  assert.equal((await foreblock.status(hash)).hash, hash);
  await provider.request({ method: 'evm_setAutomine', params: [true] });
  await provider.request({ method: 'evm_mine', params: [] });
  assert.equal((await foreblock.waitForInference(hash)).status, 'success');
});

test('a transaction that is dropped is not waited for', async () => {
  const { provider, foreblock } = connection;
  await provider.request({ method: 'evm_setAutomine', params: [false] });
  const events = [];
  const hash = await asker.send(await foreblock.model('volatility'), RETURNS.map((value) => value / 3));
  const stop = foreblock.watchInference(hash, (event) => events.push(event));
  const waiting = foreblock.waitForInference(hash, { timeoutMs: 20_000 });
  setTimeout(() => provider.request({ method: 'anvil_dropTransaction', params: [hash] }), 300);
  await assert.rejects(waiting, InferenceExpiredError);
  await stop();
  assert.ok(events.every(({ transaction }) => transaction === hash));
  await provider.request({ method: 'evm_setAutomine', params: [true] });
});

test('models are listed, and an unknown name is an error', async () => {
  const models = await connection.foreblock.models();
  assert.ok(models.some(({ name }) => name === 'volatility'));
  await assert.rejects(connection.foreblock.model('nobody'), /no model is named/);
  await assert.rejects(connection.foreblock.infer(`0x${'11'.repeat(32)}`, [tensor('Wad', [1])]), /UnknownModel/);
});

test('the mock is refused where models are real', () => {
  assert.throws(() => connection.foreblock.mock(), /another network/);
});

test('connections share the devnet', async () => {
  const second = await network.create('foreblock');
  assert.equal((await second.foreblock.models()).length, (await connection.foreblock.models()).length);
  await second.close();
  await connection.foreblock.models();
});

test('a program that is not there, and one that ends, are said clearly', async () => {
  await assert.rejects(startDevnet({ binary: '/nowhere/foreblock' }), /there is no program.*cargo build/s);
  await assert.rejects(startDevnet({ args: ['--nonsense'] }), /it ended with 2[\s\S]*--nonsense/);
});

test('a devnet of one\'s own ends when it is stopped', async () => {
  const devnet = await startDevnet();
  await devnet.stop();
  await assert.rejects(fetch(devnet.url, { method: 'POST', body: '{}' }));
});
