// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Epochs} from "./Epochs.sol";

/// @title Seeds from block hashes: for Anvil and tests ONLY
/// @notice Not for a chain with real money: who builds the block can try hashes, and who keeps the capture back for
/// 256 blocks gets another draw. A seed takes two posts: the first one after the boundary arms a block that is LEAD
/// blocks ahead, a later one takes the hash of that block. Somebody (the devnet's keeper) must post both and see
/// that blocks come in between.
contract BlockhashBeacon is Epochs {
    /// @notice The armed block `target` has no hash yet: it is at or above `current`, the block of this call.
    error NotMinedYet(uint256 target, uint256 current);

    /// @notice The hash of block `target` will be the seed of `boundary`.
    event Armed(uint256 indexed boundary, uint256 target);

    /// @notice How many blocks ahead a block is armed.
    uint256 public constant LEAD = 2;
    /// @dev For how many blocks back the machine knows hashes.
    uint256 private constant HASHES = 256;

    /// @notice The number of the block that is armed for a boundary; 0 if none is.
    mapping(uint256 boundary => uint256) public target;

    /// @param epoch_ length of an epoch in seconds, not 0
    constructor(uint256 epoch_) Epochs(epoch_) {}

    /// @dev Takes no proof: whatever is given is ignored. Reverts with NotMinedYet while the armed block has no
    /// hash. A block that was armed so long ago that its hash is gone is armed anew.
    function _prove(uint256 due, bytes calldata) internal override returns (bytes32) {
        uint256 armed = target[due];
        if (armed == 0 || block.number > armed + HASHES) {
            target[due] = block.number + LEAD;
            emit Armed(due, block.number + LEAD);
            return 0;
        }
        if (block.number <= armed) revert NotMinedYet(armed, block.number);
        return blockhash(armed);
    }
}
