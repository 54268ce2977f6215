// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "@foreblock/contracts/src/Inference.sol";

/// @title Loans whose collateral follows the risk that a model sees in the application.
/// @notice Collateral is 50 % of the loan at no risk and 150 % at certain default. An attester vouches for the application: the
/// model is only as good as what it is told.
contract CreditLine {
    /// @notice The application's features, in the model card's order; WAD.
    uint256 public constant FEATURES = 9;
    /// @notice The feature that is the amount asked for; it must be the loan's.
    uint256 public constant AMOUNT = 7;
    uint256 private constant ONE = 1e18;
    uint256 public constant MIN_COLLATERAL = 0.5e18;

    struct Loan {
        uint128 principal;
        uint128 collateral;
    }

    error OnlyAttester(address sender);
    error LoanOpen(address borrower);
    error NoLoan(address borrower);
    error CollateralTooLow(uint256 sent, uint256 needed);
    error AmountMismatch(uint256 attested, uint256 asked);
    error WrongRepayment(uint256 sent, uint256 owed);
    error TransferFailed(address to);

    event Attested(address indexed borrower, bytes32 application);
    event Borrowed(address indexed borrower, uint256 principal, uint256 collateral, int256 risk);
    event Repaid(address indexed borrower);

    bytes32 public immutable riskModel;
    address public immutable attester;
    /// @notice Wei for one unit of the model's money.
    uint256 public immutable unit;
    mapping(address borrower => bytes32 application) public attested;
    mapping(address borrower => Loan) public loans;

    constructor(bytes32 riskModel_, address attester_, uint256 unit_) payable {
        (riskModel, attester, unit) = (riskModel_, attester_, unit_);
    }

    /// @notice The attester vouches for a borrower's application, keccak256 of its ABI-encoded features.
    function attest(address borrower, bytes32 application) external {
        if (msg.sender != attester) revert OnlyAttester(msg.sender);
        attested[borrower] = application;
        emit Attested(borrower, application);
    }

    /// @notice Lends `principal` against the value sent, in the transaction in which the model is asked.
    function borrow(int256[FEATURES] calldata features, uint128 principal) external payable {
        if (loans[msg.sender].principal != 0) revert LoanOpen(msg.sender);
        if (attested[msg.sender] != keccak256(abi.encode(features))) revert OnlyAttester(msg.sender);
        uint256 amount = uint256(features[AMOUNT]) * unit / ONE;
        if (principal == 0 || amount != principal) revert AmountMismatch(amount, principal);

        int256 risk = riskOf(features);
        uint256 needed = principal * collateralRatio(risk) / ONE;
        if (msg.value < needed) revert CollateralTooLow(msg.value, needed);
        loans[msg.sender] = Loan(principal, uint128(msg.value));
        delete attested[msg.sender];
        emit Borrowed(msg.sender, principal, msg.value, risk);
        _send(msg.sender, principal);
    }

    /// @notice Gives the collateral back for the principal.
    function repay() external payable {
        Loan memory loan = loans[msg.sender];
        if (loan.principal == 0) revert NoLoan(msg.sender);
        if (msg.value != loan.principal) revert WrongRepayment(msg.value, loan.principal);
        delete loans[msg.sender];
        emit Repaid(msg.sender);
        _send(msg.sender, loan.collateral);
    }

    /// @notice The probability of default, WAD: the second of the model's two probabilities.
    function riskOf(int256[FEATURES] calldata features) public view returns (int256) {
        int256[] memory row = new int256[](FEATURES);
        for (uint256 i = 0; i < FEATURES; ++i) {
            row[i] = features[i];
        }
        return Inference.vector(riskModel, row)[1];
    }

    /// @notice Collateral for each unit lent, WAD.
    function collateralRatio(int256 risk) public pure returns (uint256) {
        if (risk < 0) risk = 0;
        return MIN_COLLATERAL + (uint256(risk) > ONE ? ONE : uint256(risk));
    }

    function _send(address to, uint256 amount) private {
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert TransferFailed(to);
    }
}
