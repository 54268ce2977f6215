// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Profile} from "./interfaces/IInference.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IOperatorRegistry, Operator, SignedOutcome} from "./interfaces/IOperatorRegistry.sol";
import {Certificate} from "./Certificate.sol";
import {Committee} from "./libraries/Committee.sol";

/// @title The operators whose certificates count, and what they have at stake.
/// @dev Stands in the genesis block without a constructor's run: no immutable, no initial storage.
contract OperatorRegistry is IOperatorRegistry {
    uint256 public constant MIN_STAKE = 1 ether;
    /// @notice Long enough for evidence to be found and included.
    uint256 public constant RETIRE_DELAY = 7 days;
    /// @notice The reporter gets one part in so many; the rest is burned, so that nobody gains by reporting himself.
    uint256 public constant REPORTER_SHARE = 10;
    /// @notice Bounds what a certificate and a block's verification can cost.
    uint256 public constant OPERATORS_MAX = 128;
    uint256 public constant ENDPOINT_BYTES_MAX = 256;
    IModelRegistry public constant MODELS = IModelRegistry(0x0000000000000000000000000000000000001a1f);

    /// @dev Storage slot 0. Consensus reads this list as it is: the layout can't be changed.
    address[] private active;
    mapping(address account => Operator) private all;
    mapping(address account => mapping(bytes32 modelId => bool)) public serves;
    mapping(bytes32 requestId => uint256 blockNumber) public announcedAt;
    mapping(bytes32 requestId => bytes32) private seeds;
    /// @dev How many have a stake, active or retired.
    uint256 private staked;

    // ---- membership

    /// @inheritdoc IOperatorRegistry
    function join(string calldata endpoint) external payable {
        Operator storage self = all[msg.sender];
        if (self.banned) revert Banned(msg.sender);
        if (self.stake != 0) revert AlreadyOperator(msg.sender);
        if (msg.value < MIN_STAKE) revert StakeTooLow(msg.value, MIN_STAKE);
        if (active.length == OPERATORS_MAX) revert TooManyOperators(OPERATORS_MAX);
        active.push(msg.sender);
        ++staked;
        (self.stake, self.place) = (uint128(msg.value), uint32(active.length));
        _setEndpoint(self, endpoint);
        emit Joined(msg.sender, msg.value, endpoint);
    }

    /// @inheritdoc IOperatorRegistry
    function addStake() external payable {
        _self().stake += uint128(msg.value);
    }

    /// @inheritdoc IOperatorRegistry
    function retire() external {
        Operator storage self = _self();
        _deactivate(self);
        self.freeAt = uint64(block.timestamp + RETIRE_DELAY);
        emit Retired(msg.sender, self.freeAt);
    }

    /// @inheritdoc IOperatorRegistry
    function withdraw() external {
        Operator storage self = all[msg.sender];
        uint256 stake = self.stake;
        if (stake == 0) revert NothingAtStake(msg.sender);
        if (self.freeAt == 0 || block.timestamp < self.freeAt) revert NotFreeYet(self.freeAt);
        delete all[msg.sender];
        --staked;
        emit Withdrawn(msg.sender, stake);
        _send(msg.sender, stake);
    }

    /// @inheritdoc IOperatorRegistry
    function setEndpoint(string calldata endpoint) external {
        _setEndpoint(_self(), endpoint);
        emit EndpointChanged(msg.sender, endpoint);
    }

    /// @inheritdoc IOperatorRegistry
    function setServes(bytes32[] calldata modelIds, bool serves_) external {
        _self();
        for (uint256 i = 0; i < modelIds.length; ++i) {
            serves[msg.sender][modelIds[i]] = serves_;
            emit Serves(msg.sender, modelIds[i], serves_);
        }
    }

    // ---- evidence

    /// @inheritdoc IOperatorRegistry
    function slashEquivocation(bytes32 requestId, SignedOutcome calldata a, SignedOutcome calldata b) external {
        address liar = _signer(requestId, a);
        if (a.outcomeHash == b.outcomeHash || liar != _signer(requestId, b)) revert NoContradiction();
        _slash(liar, requestId);
    }

    /// @inheritdoc IOperatorRegistry
    function slashContradiction(
        bytes32 modelId,
        bytes32 inputHash,
        SignedOutcome calldata statement,
        bytes32 certifiedHash,
        bytes calldata signatures
    ) external {
        if (!_isExact(modelId)) revert ModelNotExact(modelId);
        bytes32 requestId = Certificate.requestIdOf(modelId, inputHash);
        if (statement.outcomeHash == certifiedHash) revert NoContradiction();
        _checkEvidence(requestId, certifiedHash, signatures);
        _slash(_signer(requestId, statement), requestId);
    }

    // ---- committees

    /// @inheritdoc IOperatorRegistry
    // slither-disable-next-line incorrect-equality
    function announce(bytes32 requestId) external {
        uint256 announced = announcedAt[requestId];
        // What nobody fixed in time can be announced again, or it would never have a committee.
        bool lost = seeds[requestId] == 0 && block.number > announced + 257;
        if (announced != 0 && !lost) revert AlreadyAnnounced(requestId);
        announcedAt[requestId] = block.number;
        emit Announced(requestId, block.number);
    }

    /// @inheritdoc IOperatorRegistry
    function fixRandomness(bytes32 requestId) external {
        seeds[requestId] = _seed(requestId);
    }

    /// @inheritdoc IOperatorRegistry
    function committee(bytes32 modelId, bytes32 inputHash, uint256 size) external view returns (address[] memory) {
        bytes32 requestId = Certificate.requestIdOf(modelId, inputHash);
        return Committee.choose(operatorsOf(modelId), requestId, _seed(requestId), size);
    }

    // ---- reading

    /// @inheritdoc IOperatorRegistry
    function operators() external view returns (address[] memory) {
        return active;
    }

    /// @inheritdoc IOperatorRegistry
    function operatorsOf(bytes32 modelId) public view returns (address[] memory serving) {
        address[] memory candidates = active;
        serving = new address[](candidates.length);
        uint256 count = 0;
        for (uint256 i = 0; i < candidates.length; ++i) {
            if (serves[candidates[i]][modelId]) serving[count++] = candidates[i];
        }
        assembly ("memory-safe") {
            mstore(serving, count)
        }
    }

    /// @inheritdoc IOperatorRegistry
    function operator(address account) external view returns (Operator memory) {
        return all[account];
    }

    /// @inheritdoc IOperatorRegistry
    function quorum() external view returns (uint256) {
        return Certificate.quorum(active.length);
    }

    /// @inheritdoc IOperatorRegistry
    function checkCertificate(bytes32 requestId, bytes32 outcomeHash, bytes calldata signatures) public view {
        address[] memory signers = Certificate.signers(_digest(requestId, outcomeHash), signatures);
        for (uint256 i = 0; i < signers.length; ++i) {
            if (all[signers[i]].place == 0) revert Certificate.UnknownSigner(signers[i]);
        }
        _requireQuorum(signers.length, active.length);
    }

    // ---- inside

    /// @dev The sender, who must be active.
    function _self() private view returns (Operator storage self) {
        self = all[msg.sender];
        if (self.place == 0) revert NotActive(msg.sender);
    }

    function _setEndpoint(Operator storage self, string calldata endpoint) private {
        uint256 length = bytes(endpoint).length;
        if (length == 0 || length > ENDPOINT_BYTES_MAX) revert InvalidEndpoint();
        self.endpoint = endpoint;
    }

    /// @dev As `checkCertificate`, among all who have a stake.
    function _checkEvidence(bytes32 requestId, bytes32 outcomeHash, bytes calldata signatures) private view {
        address[] memory signers = Certificate.signers(_digest(requestId, outcomeHash), signatures);
        for (uint256 i = 0; i < signers.length; ++i) {
            if (all[signers[i]].stake == 0) revert Certificate.UnknownSigner(signers[i]);
        }
        _requireQuorum(signers.length, staked);
    }

    function _requireQuorum(uint256 signers, uint256 operators_) private pure {
        uint256 needed = Certificate.quorum(operators_);
        if (signers < needed) revert Certificate.TooFewSigners(signers, needed);
    }

    /// @dev Takes an operator out of the list; the last one moves to its place.
    function _deactivate(Operator storage self) private {
        address last = active[active.length - 1];
        active[self.place - 1] = last;
        all[last].place = self.place;
        active.pop();
        self.place = 0;
    }

    /// @dev An operator that has retired can be slashed until it withdraws.
    function _slash(address liar, bytes32 requestId) private {
        Operator storage self = all[liar];
        uint256 stake = self.stake;
        if (stake == 0) revert NothingAtStake(liar);
        if (self.place != 0) _deactivate(self);
        (self.stake, self.freeAt, self.banned) = (0, 0, true);
        --staked;
        uint256 reward = stake / REPORTER_SHARE;
        emit Slashed(liar, msg.sender, requestId, reward);
        _send(address(0), stake - reward);
        _send(msg.sender, reward);
    }

    // To the caller what is the caller's, its stake or a reporter's share; to zero what is burned.
    // slither-disable-next-line arbitrary-send-eth
    function _send(address to, uint256 amount) private {
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert TransferFailed(to);
    }

    function _isExact(bytes32 modelId) private view returns (bool) {
        uint8 profile = uint8(MODELS.slotOf(modelId) >> 128);
        return profile != uint8(Profile.Unknown) && profile != uint8(Profile.Tolerance);
    }

    function _signer(bytes32 requestId, SignedOutcome calldata statement) private view returns (address) {
        return Certificate.signer(_digest(requestId, statement.outcomeHash), statement.signature);
    }

    function _digest(bytes32 requestId, bytes32 outcomeHash) private view returns (bytes32) {
        bytes32 domain = Certificate.domainSeparator(block.chainid, address(this));
        return Certificate.digest(domain, requestId, outcomeHash);
    }

    /// @dev The hash of the block after the announcement, kept or still to be had.
    // Hashes and block numbers, and zero for what is not there: nobody can make them equal by sending.
    // slither-disable-next-line incorrect-equality
    function _seed(bytes32 requestId) private view returns (bytes32 seed) {
        seed = seeds[requestId];
        uint256 announced = announcedAt[requestId];
        if (seed == 0 && announced != 0) seed = blockhash(announced + 1);
        if (seed == 0) revert NoRandomness(requestId);
    }
}
