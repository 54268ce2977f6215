// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title Callbacks in the transaction that asks, for contracts written for oracles.
/// @notice The callback is made at once. A client that is ready for it only after its request has returned (it refuses ids that
/// it has not written down yet) gets it from `deliver`, which anyone may call, or from `relay`, which calls the client and then
/// delivers, in one transaction.
abstract contract Callbacks {
    /// @notice Too little gas is left for the callback's limit.
    error TooLittleGas(uint256 gas, uint64 gasLimit);
    /// @notice Nothing is to be delivered under this id.
    error NothingPending(uint256 requestId);

    struct Pending {
        address client;
        uint64 gasLimit;
        bytes call;
    }

    mapping(uint256 requestId => Pending) private pending;
    /// @notice How many were made; the last one's id.
    uint256 public requests;

    /// @notice Calls a client and, before the transaction ends, delivers what it asked for. The client sees this contract as
    /// the sender: where that matters, let a smart account or a delegated one (EIP-7702) call the client and `deliver`.
    function relay(address client, bytes calldata data) external returns (bytes memory returned) {
        uint256 before = requests;
        bool ok;
        (ok, returned) = client.call(data);
        if (!ok) _bubble(returned);
        for (uint256 id = before + 1; id <= requests; ++id) {
            if (isPending(id)) deliver(id);
        }
    }

    /// @notice Makes the callback of a request whose client was not ready. Reverts as the client does.
    function deliver(uint256 requestId) public {
        (bool ok, bytes memory returned) = _deliver(requestId);
        if (!ok) _bubble(returned);
    }

    /// @notice Whether a callback is still to be made.
    function isPending(uint256 requestId) public view returns (bool) {
        return pending[requestId].client != address(0);
    }

    /// @dev Makes the callback, or keeps it where the client reverts: the write after the call undoes nothing of the client's.
    // slither-disable-next-line reentrancy-no-eth
    function _callBack(uint256 requestId, address client, uint64 gasLimit, bytes memory call) internal {
        Pending memory item = Pending(client, gasLimit, call);
        pending[requestId] = item;
        (bool ok,) = _deliver(requestId);
        if (!ok) pending[requestId] = item;
    }

    /// @dev What stands in the other system's log once a callback was made.
    function _delivered(uint256 requestId, address client, bytes memory call) internal virtual;

    /// @dev The request is closed before the client is called, so that it can't be delivered twice.
    function _deliver(uint256 requestId) private returns (bool ok, bytes memory returned) {
        Pending memory item = pending[requestId];
        if (item.client == address(0)) revert NothingPending(requestId);
        delete pending[requestId];
        // EIP-150 keeps back a 64th.
        if (gasleft() * 63 / 64 < item.gasLimit) revert TooLittleGas(gasleft(), item.gasLimit);
        (ok, returned) = item.client.call{gas: item.gasLimit}(item.call);
        if (ok) _delivered(requestId, item.client, item.call);
    }

    function _bubble(bytes memory reason) private pure {
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }
}
