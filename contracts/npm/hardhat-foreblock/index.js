/** The plugin: `import foreblock from 'hardhat-foreblock'` and `plugins: [foreblock]` in hardhat.config. */
export default {
  id: 'hardhat-foreblock',
  npmPackage: 'hardhat-foreblock',
  hookHandlers: {
    config: () => import('./hooks/config.js'),
    network: () => import('./hooks/network.js'),
  },
};

export { startDevnet } from './devnet.js';
export { installMock } from './mock.js';
export {
  InferenceExpiredError,
  InferenceTimeoutError,
  inferenceAbi,
  encodeTensors,
  decodeTensors,
  tensor,
  text,
  texts,
  values,
  numbers,
} from 'foreblock-viem';
