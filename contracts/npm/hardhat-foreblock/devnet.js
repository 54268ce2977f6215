import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE_MS = 30_000;
const POLL_MS = 25;
/** As much of the program's output as an error shows. */
const LOG_LENGTH_MAX = 4_000;

/** A port that nobody listens on. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Starts a devnet and waits until it answers. It ends with `stop()`, and at the latest with this process. */
export async function startDevnet({ binary = process.env.FOREBLOCK_BIN ?? 'foreblock', args = [], port } = {}) {
  const listen = port ?? (await freePort());
  const url = `http://127.0.0.1:${listen}`;
  const child = spawn(binary, ['--port', String(listen), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  let ended;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => (log = (log + chunk).slice(-LOG_LENGTH_MAX)));
    stream.unref?.();
  }
  child.once('error', ({ code, message }) => {
    const hint = 'build it with `cargo build --release`, and name it by `foreblock.binary` or $FOREBLOCK_BIN';
    ended = code === 'ENOENT' ? `there is no program ${binary}: ${hint}` : message;
  });
  child.once('exit', (code, signal) => (ended ??= `it ended with ${signal ?? code}`));
  child.unref();
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);

  for (const end = Date.now() + PATIENCE_MS; !(await answers(url)); await sleep(POLL_MS)) {
    if (ended === undefined && Date.now() < end) continue;
    kill();
    throw new Error(`the devnet does not answer at ${url}: ${ended ?? `waited ${PATIENCE_MS} ms`}\n${log}`);
  }
  const stop = async () => {
    process.off('exit', kill);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.ref(); // whoever waits for the end keeps the process alive
    child.kill('SIGTERM');
    await exited;
  };
  return { url, stop, log: () => log };
}

async function answers(url) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'inference_models', params: [] });
  try {
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    return Array.isArray((await response.json()).result);
  } catch {
    return false;
  }
}
