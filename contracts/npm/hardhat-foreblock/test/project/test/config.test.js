import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHardhatRuntimeEnvironment } from 'hardhat/hre';
import foreblock from 'hardhat-foreblock';

const environment = (config) => createHardhatRuntimeEnvironment({ plugins: [foreblock], foreblock: config });

test('the network stands at the port that was chosen', async () => {
  const hre = await environment({ port: 9123, binary: '/opt/foreblock', args: ['--quiet'] });
  assert.deepEqual(hre.config.foreblock, { port: 9123, binary: '/opt/foreblock', args: ['--quiet'] });
  assert.equal(await hre.config.networks.foreblock.url.get(), 'http://127.0.0.1:9123');
});

test('wrong settings are named', async () => {
  for (const [config, word] of [
    [{ port: 0 }, /a port, 1 to 65535/],
    [{ binary: 7 }, /path of the `foreblock` program/],
    [{ args: 'quiet' }, /a list of strings/],
  ]) {
    await assert.rejects(environment(config), word);
  }
});
