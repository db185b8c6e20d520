// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A plain token that accepts every call it does not know and does nothing then
/// @notice Tokens like that have real money in them: a permit or an authorization sent to them succeeds and moves
/// nothing.
contract SwallowingToken is ERC20 {
    constructor(uint256 supply) ERC20("Swallowing", "SWT") {
        _mint(msg.sender, supply);
    }

    fallback() external payable {}
    receive() external payable {}
}
