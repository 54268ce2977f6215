import { freePort } from '../devnet.js';

/** Adds the network `foreblock`, which a devnet serves as soon as somebody connects to it. */
async function extendUserConfig(config, next) {
  const extended = await next(config);
  const port = extended.foreblock?.port ?? (await freePort());
  const network = { type: 'http', url: `http://127.0.0.1:${port}`, ...extended.networks?.foreblock };
  return {
    ...extended,
    foreblock: { ...extended.foreblock, port },
    networks: { ...extended.networks, foreblock: network },
  };
}

async function validateUserConfig({ foreblock }) {
  const errors = [];
  const expect = (holds, path, message) => holds || errors.push({ path: ['foreblock', ...path], message });
  if (foreblock === undefined) return errors;
  const { port, binary, args } = foreblock;
  expect(port === undefined || (Number.isInteger(port) && port > 0 && port < 65536), ['port'], 'expected a port, 1 to 65535');
  expect(binary === undefined || typeof binary === 'string', ['binary'], 'expected the path of the `foreblock` program');
  const texts = Array.isArray(args) && args.every((arg) => typeof arg === 'string');
  expect(args === undefined || texts, ['args'], 'expected a list of strings, the flags of `foreblock`');
  return errors;
}

async function resolveUserConfig(userConfig, resolveConfigurationVariable, next) {
  const config = await next(userConfig, resolveConfigurationVariable);
  const { port, binary, args = [] } = userConfig.foreblock ?? {};
  return { ...config, foreblock: { port, binary: binary ?? process.env.FOREBLOCK_BIN ?? 'foreblock', args } };
}

export default async () => ({ extendUserConfig, validateUserConfig, resolveUserConfig });
