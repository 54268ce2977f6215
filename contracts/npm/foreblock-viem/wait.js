'use strict';

const { getTransactionReceipt } = require('viem/actions');
const { getAction } = require('viem/utils');
const { InferenceExpiredError, InferenceTimeoutError } = require('./errors.js');
const { watchInference } = require('./news.js');

const POLL_MS_MAX = 500;
const GONE = 'the node knows it no longer: it was dropped, or replaced by another with its nonce';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function receiptOf(client, hash) {
  try {
    return await getAction(client, getTransactionReceipt, 'getTransactionReceipt')({ hash });
  } catch (error) {
    if (error.name === 'TransactionReceiptNotFoundError') return null;
    throw error;
  }
}

/**
 * The receipt of a transaction that may have to wait for its answers. Throws `InferenceTimeoutError`, which says what it waits for,
 * and `InferenceExpiredError` as soon as the node has given it up.
 */
async function waitForInference(client, { hash, timeout = 60_000, pollingInterval, onEvent }) {
  const interval = pollingInterval ?? Math.min(client.pollingInterval, POLL_MS_MAX);
  const end = Date.now() + timeout;
  const stop = onEvent && watchInference(client, { hash, onEvent, pollingInterval: interval });
  let seen = false;
  try {
    for (;;) {
      const status = await client.request({ method: 'inference_status', params: [hash] });
      const receipt = await receiptOf(client, hash);
      if (receipt) return receipt;
      if (status?.phase === 'expired') throw new InferenceExpiredError({ hash, reason: status.reason });
      if (seen && !status) throw new InferenceExpiredError({ hash, reason: GONE });
      seen ||= Boolean(status);
      if (Date.now() >= end) throw new InferenceTimeoutError({ hash, timeout, status });
      await sleep(Math.max(0, Math.min(interval, end - Date.now())));
    }
  } finally {
    await stop?.();
  }
}

module.exports = { waitForInference };
