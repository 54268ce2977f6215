// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @notice An account that computes outcomes and signs them with its own key.
/// @param stake what it loses for false statements, in wei
/// @param freeAt unix time in seconds from which its stake can be withdrawn; 0 while it is active
/// @param place its index in the list of active operators, plus one; 0 when it is not in the list
/// @param banned whether it was slashed, which is for ever
/// @param endpoint where it is reached, a URL
struct Operator {
    uint128 stake;
    uint64 freeAt;
    uint32 place;
    bool banned;
    string endpoint;
}

/// @notice An operator's signed word on one request.
/// @param outcomeHash keccak256(0x00 ‖ output), or keccak256(0x01 ‖ uint16 code ‖ keccak256(reason)) of a failure
/// @param signature r ‖ s ‖ v over the EIP-712 struct `Statement(bytes32 requestId,bytes32 outcomeHash)`
struct SignedOutcome {
    bytes32 outcomeHash;
    bytes signature;
}

/// @title The operators whose certificates count, and what they have at stake.
/// @notice Stands at 0x0000000000000000000000000000000000001A2f. Block verification reads the list of active operators in the
/// parent block's state; the precompile never does.
/// @dev Consensus reads storage: slot 0 is the length of the list, keccak256(0) + i its addresses. The EIP-712 domain
/// is name "Foreblock", version "1", this chain's id and this contract's address.
interface IOperatorRegistry {
    /// @notice The operator's signatures count from the next block on.
    event Joined(address indexed operator, uint256 stake, string endpoint);
    /// @notice They no longer count; the stake is free at `freeAt`.
    event Retired(address indexed operator, uint256 freeAt);
    /// @notice The operator has taken back its stake.
    event Withdrawn(address indexed operator, uint256 stake);
    /// @notice The operator is reached elsewhere.
    event EndpointChanged(address indexed operator, string endpoint);
    /// @notice The operator began or ceased to serve a model.
    event Serves(address indexed operator, bytes32 indexed modelId, bool serves);
    /// @notice The operator made a false statement; `reward` went to the reporter and the rest was burned.
    event Slashed(address indexed operator, address indexed reporter, bytes32 indexed requestId, uint256 reward);
    /// @notice The committee of a request depends on the hash of the block after `blockNumber`.
    event Announced(bytes32 indexed requestId, uint256 blockNumber);

    /// @notice The stake is below what is asked for.
    error StakeTooLow(uint256 stake, uint256 min);
    /// @notice The account is an operator already, or its stake is not withdrawn yet.
    error AlreadyOperator(address operator);
    /// @notice The account is no active operator.
    error NotActive(address operator);
    /// @notice The account has no stake to lose.
    error NothingAtStake(address operator);
    /// @notice The account was slashed once, and can't join again.
    error Banned(address operator);
    /// @notice The list is full.
    error TooManyOperators(uint256 max);
    /// @notice The endpoint is empty or too long.
    error InvalidEndpoint();
    /// @notice The stake stays until then; 0 when the operator has not retired.
    error NotFreeYet(uint256 freeAt);
    /// @notice Both statements name the same outcome, or are by different accounts.
    error NoContradiction();
    /// @notice Answers of this model may differ within a tolerance, so that difference proves nothing.
    error ModelNotExact(bytes32 modelId);
    /// @notice Announced already, and the randomness is still to be had or fixed.
    error AlreadyAnnounced(bytes32 requestId);
    /// @notice No randomness for this request: not announced, too early, or more than 256 blocks ago.
    error NoRandomness(bytes32 requestId);
    /// @notice Ether could not be sent.
    error TransferFailed(address to);

    // ---- membership

    /// @notice The sender becomes an operator, with the value sent as stake.
    function join(string calldata endpoint) external payable;

    /// @notice The sender adds to its stake.
    function addStake() external payable;

    /// @notice The sender's signatures no longer count. Its stake stays for the delay, and can still be lost.
    function retire() external;

    /// @notice The sender takes back its stake after the delay.
    function withdraw() external;

    /// @notice The sender is reached elsewhere.
    function setEndpoint(string calldata endpoint) external;

    /// @notice The sender begins or ceases to serve models.
    function setServes(bytes32[] calldata modelIds, bool serves_) external;

    // ---- evidence

    /// @notice Two statements of one operator for one request. All its stake is taken: a tenth goes to the sender, and
    /// the rest is burned.
    function slashEquivocation(bytes32 requestId, SignedOutcome calldata a, SignedOutcome calldata b) external;

    /// @notice A statement that contradicts a certificate for the same request, of a model that is exact. Here all who have a
    /// stake count as operators, the retired too, so that the last who stay can't take the stakes of those who go.
    /// @param modelId with `inputHash` it proves of which model the request is
    /// @param inputHash keccak256 of the input
    /// @param certifiedHash the outcome on which the certificate agrees
    /// @param signatures the certificate: r ‖ s ‖ v of each signer, in ascending order of their addresses
    function slashContradiction(
        bytes32 modelId,
        bytes32 inputHash,
        SignedOutcome calldata statement,
        bytes32 certifiedHash,
        bytes calldata signatures
    ) external;

    // ---- committees

    /// @notice Makes a request known. The first block after it gives the randomness that chooses its committee, so that nobody
    /// can look for a request with a committee of friends.
    function announce(bytes32 requestId) external;

    /// @notice Keeps the randomness of an announced request; anyone may call it within 256 blocks.
    function fixRandomness(bytes32 requestId) external;

    /// @notice The operators chosen for a request, from those who serve its model.
    /// @param size how many at most, 3f + 1
    function committee(bytes32 modelId, bytes32 inputHash, uint256 size) external view returns (address[] memory);

    // ---- reading

    /// @notice All active operators.
    function operators() external view returns (address[] memory);

    /// @notice The active operators who serve a model.
    function operatorsOf(bytes32 modelId) external view returns (address[] memory);

    /// @notice What is known of an account.
    function operator(address account) external view returns (Operator memory);

    /// @notice Whether an operator says that it serves a model.
    function serves(address account, bytes32 modelId) external view returns (bool);

    /// @notice How many signatures make a certificate: n - f of n operators, f = (n - 1) / 3, which is 2f + 1 of 3f + 1.
    function quorum() external view returns (uint256);

    /// @notice Reverts unless enough active operators signed this outcome.
    /// @param signatures r ‖ s ‖ v of each signer, in ascending order of their addresses
    function checkCertificate(bytes32 requestId, bytes32 outcomeHash, bytes calldata signatures) external view;
}
