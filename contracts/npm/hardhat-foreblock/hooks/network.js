import { createPublicClient, custom } from 'viem';
import { foreblockActions } from 'foreblock-viem';
import { startDevnet } from '../devnet.js';
import { installMock } from '../mock.js';

const NETWORK = 'foreblock';
/** A devnet of one's own is near: it may be asked often. */
const POLL_MS = 50;

/** What a connection has under `foreblock`. */
function helpers(connection) {
  const client = createPublicClient({ transport: custom(connection.provider) }).extend(foreblockActions());
  return {
    client,
    models: () => client.inferenceModels(),
    model: (name) => client.inferenceModelId(name),
    status: (hash) => client.inferenceStatus(hash),
    infer: (model, inputs) => client.infer({ model, inputs }),
    waitForInference: (hash, { timeoutMs, onEvent } = {}) =>
      client.waitForInference({ hash, timeout: timeoutMs, pollingInterval: POLL_MS, onEvent }),
    watchInference: (hash, onEvent, { onError } = {}) =>
      client.watchInference({ hash, onEvent, onError, pollingInterval: POLL_MS }),
    mock() {
      if (connection.networkName === NETWORK) throw new Error('the devnet answers by itself: use the mock on another network');
      return installMock(connection.provider);
    },
  };
}

export default async () => {
  /** The devnet that all connections share, and how many they are. */
  let devnet;
  let connections = 0;
  return {
    async newConnection(context, next) {
      const connection = await next(context);
      if (connection.networkName === NETWORK) {
        connections++;
        devnet ??= startDevnet(context.config.foreblock);
        await devnet;
      }
      connection.foreblock = helpers(connection);
      return connection;
    },
    async closeConnection(context, connection, next) {
      await next(context, connection);
      if (connection.networkName !== NETWORK || --connections > 0) return;
      const last = devnet;
      devnet = undefined;
      await (await last).stop();
    },
  };
};
