// foreblock-viem as its users have it, against a node at $NODE_URL. `node --test`.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { InferenceExpiredError, InferenceTimeoutError, encodeTensors, foreblockActions, inferenceAbi, tensor, values } from 'foreblock-viem';
import { INFERENCE_ADDRESS } from 'foreblock-viem';
import { createPublicClient, createTestClient, createWalletClient, encodeFunctionData, http, webSocket } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';

const { NODE_URL, PRIVATE_KEY } = process.env;
const account = privateKeyToAccount(PRIVATE_KEY);
const transports = { http: http(NODE_URL), webSocket: webSocket(NODE_URL.replace('http', 'ws')) };
const wallet = createWalletClient({ account, chain: foundry, transport: transports.http });
const miner = createTestClient({ mode: 'anvil', chain: foundry, transport: transports.http });
const client = (transport) =>
  createPublicClient({ chain: foundry, transport: transports[transport], pollingInterval: 50 }).extend(foreblockActions());
const returns = (last) => [tensor('Wad', [...Array(15).fill(0.01), last])];
let model;
let question = 0;

/** A transaction that asks the precompile something that nobody has asked before. */
function ask(options = {}) {
  const args = [model, encodeTensors(returns(++question / 10_000))];
  const data = encodeFunctionData({ abi: inferenceAbi, functionName: 'run', args });
  return wallet.sendTransaction({ to: INFERENCE_ADDRESS, data, gas: 1_000_000n, ...options });
}

/** While no block is built. */
async function paused(work) {
  await miner.setAutomine(false);
  try {
    return await work();
  } finally {
    await miner.setAutomine(true);
    await miner.mine({ blocks: 1 });
  }
}

/** While the node's operator answers nothing. */
async function silent(work) {
  const fault = (...params) => miner.request({ method: 'inference_setFault', params });
  await fault(1, 'silent');
  try {
    return await work();
  } finally {
    await fault(1);
  }
}

before(async () => {
  model = await client('http').inferenceModelId('volatility');
});

for (const transport of Object.keys(transports)) {
  test(`${transport}: models, a call, a receipt`, async () => {
    const chain = client(transport);
    const listed = (await chain.inferenceModels()).find(({ name }) => name === 'volatility');
    assert.equal(listed.id, model);
    const [output] = await chain.infer({ model, inputs: returns(0.02) });
    assert.ok(values(output)[0] > 0n);
    const receipt = await chain.waitForInference({ hash: await ask() });
    assert.equal(receipt.status, 'success');
    assert.equal((await chain.inferenceStatus(receipt.transactionHash)).phase, 'included');
  });

  test(`${transport}: a timeout says what the transaction waits for, and it is mined later`, async () => {
    const chain = client(transport);
    const hash = await paused(async () => {
      const hash = await ask();
      const failure = await chain.waitForInference({ hash, timeout: 200 }).catch((error) => error);
      assert.ok(failure instanceof InferenceTimeoutError, failure);
      assert.match(failure.message, /is not mined after 200 ms: it is (scouting|waiting|ready|deferred)/);
      assert.equal(failure.status.hash, hash);
      assert.ok((await chain.inferencePending()).some((pending) => pending.hash === hash));
      return hash;
    });
    assert.equal((await chain.waitForInference({ hash })).status, 'success');
  });

  test(`${transport}: a transaction that is dropped fails at once`, async () => {
    const chain = client(transport);
    await paused(async () => {
      const hash = await ask();
      const waiting = chain.waitForInference({ hash, timeout: 30_000 });
      setTimeout(() => miner.dropTransaction({ hash }), 300);
      const started = Date.now();
      await assert.rejects(waiting, (error) => error instanceof InferenceExpiredError && /dropped/.test(error.message));
      assert.ok(Date.now() - started < 10_000, 'long before the timeout');
    });
  });

  test(`${transport}: a transaction whose answer never comes is given up, and that is news`, async () => {
    const chain = client(transport);
    const heard = [];
    await silent(async () => {
      const hash = await ask();
      const other = await ask();
      const waiting = chain.waitForInference({ hash, timeout: 30_000, onEvent: (event) => heard.push(event) });
      const expired = Promise.withResolvers();
      const onEvent = (event) => event.event === 'expired' && expired.resolve(event);
      const stop = chain.watchInference({ hash: other, onEvent, onError: expired.reject, pollingInterval: 20 });
      setTimeout(() => miner.mine({ blocks: 70 }), 500);
      await assert.rejects(waiting, (error) => error instanceof InferenceExpiredError && /not ready within \d+ blocks/.test(error.reason));
      const { event, transaction, reason } = await expired.promise;
      assert.deepEqual({ event, transaction }, { event: 'expired', transaction: other });
      assert.match(reason, /not ready within/);
      await stop();
      assert.ok(heard.every(({ transaction }) => transaction === hash), 'of this transaction only');
    });
  });
}

test('webSocket: news of everything name outcomes', async () => {
  const chain = client('webSocket');
  const outcome = Promise.withResolvers();
  const onEvent = (event) => event.event === 'outcome' && outcome.resolve(event.request);
  const stop = chain.watchInference({ onEvent, onError: outcome.reject });
  await chain.getBlockNumber();
  await new Promise((resolve) => setTimeout(resolve, 200));
  await ask();
  assert.match(await outcome.promise, /^0x[0-9a-f]{64}$/);
  await stop();
});

test('webSocket: what the node refuses to tell is an error', async () => {
  const refused = Promise.withResolvers();
  client('webSocket').watchInference({ hash: '0x12', onEvent() {}, onError: refused.resolve });
  assert.ok((await refused.promise) instanceof Error);
});

test('http: news of everything need a WebSocket', () => {
  assert.throws(() => client('http').watchInference({ onEvent() {} }), /over a WebSocket/);
});

test('a transaction that nobody sent', async () => {
  const hash = `0x${'ab'.repeat(32)}`;
  await assert.rejects(client('http').waitForInference({ hash, timeout: 100 }), /knows no such transaction/);
});
