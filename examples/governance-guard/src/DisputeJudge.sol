// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "@foreblock/contracts/src/Inference.sol";
import {Message, Text} from "@foreblock/contracts/src/Text.sol";

/// @title An escrow whose disputes a language model settles, unless somebody appeals.
/// @notice The buyer complains in words, the seller answers in words, and in the transaction of that answer the model rules: the
/// money goes back, is shared, or goes on. For three days either of them can take that to the arbiter, say a DAO behind its
/// `ProposalGuard`. Where the model has no answer, the arbiter decides at once.
contract DisputeJudge {
    /// @notice Longest text of a party, in bytes.
    uint256 public constant MAX_BYTES = 200;
    uint64 public constant TIME_TO_ANSWER = 2 days;
    uint64 public constant TIME_TO_APPEAL = 3 days;
    string public constant TASK = "A buyer paid for what the first message promises, and complains in the second. "
        "The seller answers in the third. What happens with the money: refund, half or pay?";

    // forgefmt: disable-start
    enum Stage { Paid, Disputed, Ruled, WithArbiter, Closed }
    enum Ruling { Refund, Half, Pay }
    // forgefmt: disable-end

    struct Sale {
        address buyer;
        address seller;
        uint256 price;
        Stage stage;
        Ruling ruling;
        uint64 until; // for an answer, or for an appeal
        string promised;
        string complaint;
    }

    error TextSize(uint256 size, uint256 max);
    error NotYours(address sender);
    error WrongStage(Stage stage);
    error TooEarly(uint64 until);
    error TooLate(uint64 until);
    error NotTaken(address to);

    event Ruled(uint256 indexed sale, Ruling ruling, uint64 until);
    event WentToArbiter(uint256 indexed sale);
    event Closed(uint256 indexed sale, uint256 toBuyer, uint256 toSeller);

    bytes32 public immutable model;
    address public immutable arbiter;
    Sale[] public sales;
    mapping(address account => uint256) public owed;

    constructor(bytes32 model_, address arbiter_) {
        (model, arbiter) = (model_, arbiter_);
    }

    /// @notice Pays into the escrow for what the seller promises.
    function buy(address seller, string calldata promised) external payable returns (uint256 id) {
        _checkSize(promised);
        id = sales.length;
        sales.push(Sale(msg.sender, seller, msg.value, Stage.Paid, Ruling.Pay, 0, promised, ""));
    }

    /// @notice All is well: the seller gets the money.
    function release(uint256 id) external {
        _close(id, _at(id, Stage.Paid, sales[id].buyer), Ruling.Pay);
    }

    function complain(uint256 id, string calldata complaint) external {
        _checkSize(complaint);
        Sale storage sale = _at(id, Stage.Paid, sales[id].buyer);
        (sale.stage, sale.until) = (Stage.Disputed, uint64(block.timestamp) + TIME_TO_ANSWER);
        sale.complaint = complaint;
    }

    /// @notice The seller's side of it, and the ruling; where the seller is silent for two days, the ruling without it, by anyone.
    function answer(uint256 id, string calldata reply) external {
        bool silent = block.timestamp > sales[id].until;
        Sale storage sale = _at(id, Stage.Disputed, silent ? msg.sender : sales[id].seller);
        if (!silent) _checkSize(reply);
        try this.ask(sale.promised, sale.complaint, silent ? "No answer." : reply) returns (Ruling ruling) {
            (sale.stage, sale.ruling, sale.until) = (Stage.Ruled, ruling, uint64(block.timestamp) + TIME_TO_APPEAL);
            emit Ruled(id, ruling, sale.until);
        } catch (bytes memory reason) {
            Inference.checkReason(reason); // too little gas says nothing of the model
            _toArbiter(id, sale);
        }
    }

    function appeal(uint256 id) external {
        bool isBuyer = msg.sender == sales[id].buyer;
        Sale storage sale = _at(id, Stage.Ruled, isBuyer ? msg.sender : sales[id].seller);
        if (block.timestamp > sale.until) revert TooLate(sale.until);
        _toArbiter(id, sale);
    }

    function decide(uint256 id, Ruling ruling) external {
        _close(id, _at(id, Stage.WithArbiter, arbiter), ruling);
    }

    /// @notice Does what was ruled, once nobody can appeal any more. By anyone.
    function enforce(uint256 id) external {
        Sale storage sale = _at(id, Stage.Ruled, msg.sender);
        if (block.timestamp <= sale.until) revert TooEarly(sale.until);
        _close(id, sale, sale.ruling);
    }

    function withdraw() external {
        uint256 value = owed[msg.sender];
        owed[msg.sender] = 0;
        (bool taken,) = msg.sender.call{value: value}("");
        if (!taken) revert NotTaken(msg.sender);
    }

    /// @notice The model's ruling. Each party's words are a message of their own, which nothing in them can end.
    function ask(string calldata promised, string calldata complaint, string calldata reply)
        external
        view
        returns (Ruling)
    {
        Message[] memory messages = new Message[](4);
        (messages[0], messages[1]) = (Message("system", TASK), Message("user", promised));
        (messages[2], messages[3]) = (Message("user", complaint), Message("user", reply));
        string[] memory rulings = new string[](3);
        (rulings[0], rulings[1], rulings[2]) = ("refund", "half", "pay");
        return Ruling(Text.choose(model, messages, rulings));
    }

    function _at(uint256 id, Stage stage, address who) private view returns (Sale storage sale) {
        sale = sales[id];
        if (sale.stage != stage) revert WrongStage(sale.stage);
        if (msg.sender != who) revert NotYours(msg.sender);
    }

    function _toArbiter(uint256 id, Sale storage sale) private {
        sale.stage = Stage.WithArbiter;
        emit WentToArbiter(id);
    }

    function _close(uint256 id, Sale storage sale, Ruling ruling) private {
        uint256 toSeller = ruling == Ruling.Pay ? sale.price : ruling == Ruling.Half ? sale.price / 2 : 0;
        sale.stage = Stage.Closed;
        owed[sale.seller] += toSeller;
        owed[sale.buyer] += sale.price - toSeller;
        emit Closed(id, sale.price - toSeller, toSeller);
    }

    function _checkSize(string calldata text) private pure {
        uint256 size = bytes(text).length;
        if (size == 0 || size > MAX_BYTES) revert TextSize(size, MAX_BYTES);
    }
}
