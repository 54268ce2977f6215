import { createPublicClient, custom } from 'viem';
import foreblock from 'foreblock-viem';
import { startDevnet } from '../devnet.js';
import { installMock } from '../mock.js';

const NETWORK = 'foreblock';

/** What a connection has under `foreblock`. */
function helpers(connection) {
  const client = createPublicClient({ transport: custom(connection.provider) }).extend(foreblock.foreblockActions());
  return {
    client,
    models: () => client.inferenceModels(),
    model: (name) => client.request({ method: 'inference_modelId', params: [name] }),
    status: (hash) => client.inferenceStatus(hash),
    infer: (model, inputs) => client.infer({ model, inputs }),
    waitForInference: (hash, { timeoutMs } = {}) => client.waitForInference({ hash, timeout: timeoutMs }),
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
