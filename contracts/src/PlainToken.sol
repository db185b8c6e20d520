// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @title The token of the test network: plain OpenZeppelin ERC-20 with EIP-2612 and EIP-3009
/// @notice 18 decimals, no fee, no hooks, no owner, no minting after construction. EIP-712 domain: the
/// token's name, version "1". A network with real money uses its own token; the vault asks only for ERC-20.
contract PlainToken is ERC20Permit, ERC3009 {
    /// @param supply whole supply, in units of 10^-18 token; goes to the deployer
    constructor(uint256 supply) ERC20("Spillway Test Token", "SPT") ERC20Permit("Spillway Test Token") {
        _mint(msg.sender, supply);
    }
}
