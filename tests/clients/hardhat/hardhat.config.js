import { defineConfig } from 'hardhat/config';

export default defineConfig({
  // The compiler is npm's, so that nothing is downloaded.
  solidity: { version: '0.8.37', path: process.env.SOLJSON, settings: { evmVersion: 'cancun', optimizer: { enabled: true } } },
  networks: { foreblock: { type: 'http', chainType: 'l1', url: process.env.NODE_URL } },
});
