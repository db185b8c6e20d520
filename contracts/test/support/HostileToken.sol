// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token that can be told to misbehave, also after it was paid with honestly
contract HostileToken is ERC20 {
    enum Mode {
        Honest,
        /// Moves all but one unit.
        Fee,
        /// Moves one unit more than asked, out of what the token mints.
        Bonus,
        /// Takes twice from the sender.
        Double,
        /// Moves nothing and says that it did.
        Silent,
        /// Moves nothing and says so.
        ReturnFalse,
        /// Moves all and says that it did not.
        MoveAndReturnFalse,
        /// Moves all and returns no data.
        NoData,
        /// Reverts with its own error.
        Revert,
        /// Takes from the vault while it pretends to pay it.
        Steal,
        /// Calls the target with the call data and passes a failure on.
        Reenter,
        /// Calls the target with the call data and hides a failure.
        ReenterQuietly
    }

    error Refused();

    Mode public mode;
    address private target;
    bytes private data;
    bool public reentered;
    bytes public answer;

    constructor(uint256 supply) ERC20("Hostile", "HST") {
        _mint(msg.sender, supply);
    }

    function set(Mode mode_) external {
        mode = mode_;
    }

    function setReenter(Mode mode_, address target_, bytes calldata data_) external {
        (mode, target, data) = (mode_, target_, data_);
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return _misbehave(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return _misbehave(from, to, value);
    }

    /// EIP-3009, but for anybody: what a token does behind a signature is its own affair.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256,
        uint256,
        bytes32,
        uint8,
        bytes32,
        bytes32
    ) external {
        _misbehave(from, to, value);
    }

    /// EIP-2612, but for anybody. A reverting token reverts here too; a re-entering one re-enters.
    function permit(address owner, address spender, uint256 value, uint256, uint8, bytes32, bytes32)
        external
    {
        Mode m = mode;
        if (m == Mode.Revert) revert Refused();
        if (m == Mode.Reenter || m == Mode.ReenterQuietly) _reenter(m == Mode.ReenterQuietly);
        _approve(owner, spender, value);
    }

    function _misbehave(address from, address to, uint256 value) private returns (bool) {
        Mode m = mode;
        if (m == Mode.Revert) revert Refused();
        if (m == Mode.Silent) return true;
        if (m == Mode.ReturnFalse) return false;
        if (m == Mode.Steal) {
            _transfer(to, from, 1);
            return true;
        }
        if (m == Mode.Reenter || m == Mode.ReenterQuietly) _reenter(m == Mode.ReenterQuietly);
        if (m == Mode.Bonus) _mint(to, 1);
        if (m == Mode.Double) _burn(from, value);
        _transfer(from, to, m == Mode.Fee ? value - 1 : value);
        if (m == Mode.NoData) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        return m != Mode.MoveAndReturnFalse;
    }

    function _reenter(bool quietly) private {
        reentered = true;
        bool ok;
        (ok, answer) = target.call(data);
        if (!ok && !quietly) {
            bytes memory reason = answer;
            assembly ("memory-safe") {
                revert(add(reason, 32), mload(reason))
            }
        }
    }
}
