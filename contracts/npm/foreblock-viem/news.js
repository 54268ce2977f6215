'use strict';

/** The phases of a transaction that are news; the others pass. */
const TOLD = ['ready', 'deferred', 'expired'];

/**
 * News of a transaction's inferences, or of all. Over a WebSocket by `inference_subscribe`; else the status of one transaction is
 * asked for again and again. Returns what ends it.
 */
function watchInference(client, { hash, onEvent, onError = () => {}, pollingInterval = client.pollingInterval }) {
  if (client.transport.getRpcClient) return subscribe(client, hash, onEvent, onError);
  if (hash) return poll(client, hash, onEvent, onError, pollingInterval);
  throw new TypeError('news of all inferences come over a WebSocket: create the client with webSocket(url), or name a transaction by `hash`');
}

function subscribe(client, hash, onEvent, onError) {
  const early = []; // news may come before the subscription's id
  let id;
  let socket;
  let stopped = false;
  const tell = ({ subscription, result }) => subscription === id && !stopped && onEvent(result);
  const hear = ({ data }) => {
    const { method, params } = JSON.parse(data);
    if (method !== 'inference_subscription') return;
    if (id === undefined) early.push(params);
    else tell(params);
  };
  const closed = () => stopped || onError(new Error('the connection was closed: no more news of inferences'));
  const leave = () => {
    socket?.removeEventListener('message', hear);
    socket?.removeEventListener('close', closed);
  };
  const start = async () => {
    ({ socket } = await client.transport.getRpcClient());
    socket.addEventListener('message', hear);
    socket.addEventListener('close', closed);
    id = await client.request({ method: 'inference_subscribe', params: hash ? [hash] : [] });
    early.splice(0).forEach(tell);
  };
  const started = start().catch((error) => (leave(), onError(error)));
  return async () => {
    stopped = true;
    await started;
    leave();
    if (id !== undefined && socket.readyState === socket.OPEN) {
      await client.request({ method: 'inference_unsubscribe', params: [id] });
    }
  };
}

function poll(client, hash, onEvent, onError, interval) {
  let stopped = false;
  let timer;
  let last;
  const look = async () => {
    try {
      const status = await client.request({ method: 'inference_status', params: [hash] });
      if (stopped) return;
      const { phase, reason = null } = status ?? {};
      if (TOLD.includes(phase) && `${phase}:${reason}` !== last) onEvent({ event: phase, transaction: hash, reason });
      last = `${phase}:${reason}`;
      if (phase === 'included' || phase === 'expired') return;
    } catch (error) {
      onError(error);
    }
    if (!stopped) timer = setTimeout(look, interval);
  };
  look();
  return async () => {
    stopped = true;
    clearTimeout(timer);
  };
}

module.exports = { watchInference };
