// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "@foreblock/contracts/src/Inference.sol";
import {Tensor} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {TensorLib} from "@foreblock/contracts/src/Tensor.sol";
import {WadVector} from "@foreblock/contracts/src/WadVector.sol";

/// @title A timelock that reads what it is told to do.
/// @notice The `text` model sorts a proposal's description among kinds, each given by an example sentence, and the kind says how
/// long the proposal waits. Where the words are unclear, or say something else than what the call does, it waits longest. So a
/// description can only shorten the wait that fits it, and a wrong answer can only slow things down.
contract ProposalGuard {
    /// @notice Longest description in bytes; the model takes 1,024.
    uint256 public constant MAX_BYTES = 1_000;
    /// @notice How near its kind's example a description must lie, and how far ahead of the next kind; WAD.
    int256 public constant MIN_LIKENESS = 0.4e18;
    int256 public constant MIN_LEAD = 0.1e18;
    /// @notice What no kind is.
    uint256 public constant UNCLEAR = type(uint256).max;

    struct Kind {
        string example;
        uint64 delay; // seconds
        bool pays; // whether calls of this kind send value
    }

    error OnlyGovernor(address sender);
    error BadKinds(uint256 count);
    error TextSize(uint256 size, uint256 max);
    error NotProposed(bytes32 action);
    error AlreadyProposed(bytes32 action);
    error TooEarly(uint64 readyAt);
    error CallFailed(bytes returned);

    event Proposed(bytes32 indexed action, uint256 kind, uint64 readyAt, string description);
    event Executed(bytes32 indexed action);

    address public immutable governor;
    bytes32 public immutable textModel;
    uint64 public immutable longestDelay;
    Kind[] public kinds;
    mapping(bytes32 action => uint64) public readyAt;

    constructor(address governor_, bytes32 textModel_, Kind[] memory kinds_) payable {
        (governor, textModel) = (governor_, textModel_);
        if (kinds_.length < 2) revert BadKinds(kinds_.length);
        uint64 longest;
        for (uint256 i = 0; i < kinds_.length; ++i) {
            if (kinds_[i].delay > longest) longest = kinds_[i].delay;
            kinds.push(kinds_[i]);
        }
        longestDelay = longest;
    }

    receive() external payable {}

    /// @notice Notes a call that governance has decided on, in the transaction in which the model reads its description.
    function propose(address target, uint256 value, bytes calldata data, string calldata description)
        external
        returns (bytes32 action)
    {
        if (msg.sender != governor) revert OnlyGovernor(msg.sender);
        if (bytes(description).length == 0 || bytes(description).length > MAX_BYTES) {
            revert TextSize(bytes(description).length, MAX_BYTES);
        }
        action = keccak256(abi.encode(target, value, data));
        if (readyAt[action] != 0) revert AlreadyProposed(action);
        uint256 kind = UNCLEAR;
        try this.classify(description) returns (uint256 best, int256 likeness, int256 lead) {
            bool clear = likeness >= MIN_LIKENESS && lead >= MIN_LEAD;
            if (clear && kinds[best].pays == (value > 0)) kind = best;
        } catch (bytes memory reason) {
            Inference.checkReason(reason); // too little gas says nothing of the models
        }
        uint64 ready = uint64(block.timestamp) + (kind == UNCLEAR ? longestDelay : kinds[kind].delay);
        readyAt[action] = ready;
        emit Proposed(action, kind, ready, description);
    }

    /// @notice Makes the call, once its time has come. By anyone.
    function execute(address target, uint256 value, bytes calldata data) external {
        bytes32 action = keccak256(abi.encode(target, value, data));
        uint64 ready = readyAt[action];
        if (ready == 0) revert NotProposed(action);
        if (block.timestamp < ready) revert TooEarly(ready);
        delete readyAt[action];
        (bool ok, bytes memory returned) = target.call{value: value}(data);
        if (!ok) revert CallFailed(returned);
        emit Executed(action);
    }

    /// @notice The kind whose example lies nearest, how near, and how far ahead of the next; WAD.
    function classify(string calldata description) external view returns (uint256 best, int256 likeness, int256 lead) {
        int256[] memory embedding = _read(bytes(description));
        int256[] memory scores = new int256[](kinds.length);
        for (uint256 i = 0; i < scores.length; ++i) {
            // The same question in every transaction: computed once, and looked up from then on.
            scores[i] = WadVector.dot(embedding, _read(bytes(kinds[i].example)));
        }
        best = WadVector.argmax(scores);
        likeness = scores[best];
        scores[best] = type(int256).min;
        lead = likeness - scores[WadVector.argmax(scores)];
    }

    function _read(bytes memory text) private view returns (int256[] memory embedding) {
        Tensor memory input = TensorLib.reshape(TensorLib.octets(text), TensorLib.shape(1, text.length));
        return TensorLib.takeWads(Inference.run(textModel, input)[0]);
    }
}
