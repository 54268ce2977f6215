import { defineConfig } from 'hardhat/config';
import foreblock from 'hardhat-foreblock';

export default defineConfig({
  plugins: [foreblock],
  solidity: {
    version: '0.8.37',
    path: process.env.FOREBLOCK_SOLJSON, // npm's WebAssembly build; without it Hardhat downloads one
    settings: { evmVersion: 'cancun', optimizer: { enabled: true, runs: 200 } },
  },
});
