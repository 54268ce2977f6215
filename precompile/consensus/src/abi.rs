//! The Solidity face. The `.sol` files are the only place where selectors, errors and structs are written down.
#![allow(missing_docs, unreachable_pub, clippy::too_many_arguments)]

alloy_sol_types::sol!(
    #![sol(all_derives)]
    "abi/IInference.sol"
);
alloy_sol_types::sol!(
    #![sol(all_derives)]
    "abi/IModelRegistry.sol"
);
alloy_sol_types::sol!(
    #![sol(all_derives)]
    "abi/IOperatorRegistry.sol"
);
