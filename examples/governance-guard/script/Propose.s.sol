// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {UsesDevnet} from "@foreblock/contracts/src/testing/DevnetInference.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {ProposalGuard} from "../src/ProposalGuard.sol";

/// @notice Deploys the guard and proposes two payments: one whose description says so, and one that says something else.
contract Propose is UsesDevnet {
    address private constant TO = 0x000000000000000000000000000000000000bEEF;

    function run() external returns (ProposalGuard guard) {
        useDevnet();
        uint256 key = vm.envOr("PRIVATE_KEY", DEVNET_KEY);
        ProposalGuard.Kind[] memory kinds = new ProposalGuard.Kind[](3);
        kinds[0] = ProposalGuard.Kind("Pay 50,000 USDC from the treasury to the audit firm as a grant.", 2 days, true);
        kinds[1] = ProposalGuard.Kind(
            "Change the protocol fee and the interest rate parameters of the market.", 3 days, false
        );
        kinds[2] =
            ProposalGuard.Kind("Upgrade the implementation contract to a new version of the code.", 14 days, false);
        bytes32 model = devnetModel("text");
        vm.startBroadcast(key);
        guard = new ProposalGuard(vm.addr(key), model, kinds);
        guard.propose(TO, 10 ether, "", "Grant 10 ETH from the treasury to the audit team for their work.");
        guard.propose(TO, 11 ether, "", "Lower the reserve fee and the interest rate of the stablecoin market.");
        vm.stopBroadcast();
    }
}
