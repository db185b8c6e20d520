// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchPayments} from "../../src/BatchPayments.sol";
import {VaultCore} from "../../src/VaultCore.sol";
import {PaymentHandler} from "./PaymentHandler.sol";

/// @title The invariant test's moves with batches, with its own account of escrow, prizes, tips and refunds
/// @dev Every move succeeds or expects its exact revert: the invariant run fails on any other revert.
contract BatchHandler is PaymentHandler {
    uint256 private constant FIRST_KEY = 0xD00D;

    /// The tree is made again from `random` and `leaves` when it is needed.
    struct Known {
        BatchPayments.Batch terms;
        bytes32 random;
        uint256 leaves;
        uint256 record;
    }

    Known[] private known;
    uint256 public committed;
    uint256 public escrow;
    uint256 public prizes;
    uint256 public tips;
    uint256 public refunded;
    uint256 private salt;

    function _tree(bytes32 random, uint256 leaves) private pure returns (Tree memory) {
        return treeOf(leavesOf(leaves, 1e18, random));
    }

    function _terms(uint256 who, uint256 leaves, uint256 draws, uint256 tip, uint256 window)
        private
        returns (BatchPayments.Batch memory batch)
    {
        bytes32 random = keccak256(abi.encode(++salt));
        leaves = 1 + leaves % 6;
        Tree memory tree = _tree(random, leaves);
        uint40 until = uint40(block.timestamp + MIN_WINDOW + window % (MAX_WINDOW - MIN_WINDOW + 1));
        batch = BatchPayments.Batch({
            payer: vm.addr(FIRST_KEY + who % 3),
            root: tree.root,
            total: uint96(tree.total),
            tip: uint96(tip % 1e15),
            uploadBy: until,
            draws: uint8(1 + draws % (tree.total < 7 ? tree.total : 7))
        });
        known.push(Known(batch, random, leaves, block.timestamp));
        uint256 need = escrowOf(batch);
        vm.prank(PAYER);
        token.transfer(batch.payer, need);
        committed += need;
        escrow += need;
    }

    function _key(address payer) private pure returns (uint256 key) {
        for (key = FIRST_KEY; vm.addr(key) != payer;) {
            ++key;
        }
    }

    function _sign(address payer, bytes32 structHash) private view returns (uint8, bytes32, bytes32) {
        return
            vm.sign(_key(payer), keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
    }

    function _authorize(address payer, uint256 value, bytes32 number)
        private
        view
        returns (uint8, bytes32, bytes32)
    {
        bytes32 typeHash = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        bytes32 structHash =
            keccak256(abi.encode(typeHash, payer, address(vault), value, 0, block.timestamp + 1, number));
        return _sign(payer, structHash);
    }

    function _permit(address payer, uint256 value) private view returns (uint8, bytes32, bytes32) {
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 structHash = keccak256(
            abi.encode(typeHash, payer, address(vault), value, token.nonces(payer), block.timestamp)
        );
        return _sign(payer, structHash);
    }

    /// A new batch, paid by allowance, permit or authorization.
    function commitOne(uint256 who, uint256 leaves, uint256 draws, uint256 tip, uint256 way) external {
        BatchPayments.Batch memory batch = _terms(who, leaves, draws, tip, way >> 8);
        uint40 until = uint40(block.timestamp);
        uint256 need = escrowOf(batch);
        if (way % 3 == 0) {
            vm.prank(batch.payer);
            token.approve(address(vault), need);
            vm.prank(batch.payer);
            vault.commit(batch, until);
        } else if (way % 3 == 1) {
            (uint8 v, bytes32 r, bytes32 s) = _permit(batch.payer, need);
            vm.prank(batch.payer);
            vault.commitWithPermit(batch, until, v, r, s);
        } else {
            (uint8 v, bytes32 r, bytes32 s) = _authorize(batch.payer, need, vault.batchId(batch));
            vault.commitWithAuthorization(batch, until, v, r, s);
        }
    }

    /// Two new batches at once.
    function commitTwo(uint256 who, uint256 leaves, uint256 draws, uint256 tip, bool signed) external {
        BatchPayments.Batch[] memory batches = new BatchPayments.Batch[](2);
        batches[0] = _terms(who, leaves, draws, tip, tip);
        batches[1] = _terms(who, leaves >> 8, draws >> 8, tip >> 8, leaves);
        uint40 until = uint40(block.timestamp);
        address payer = batches[0].payer;
        uint256 need = escrowOf(batches[0]) + escrowOf(batches[1]);
        if (signed) {
            bytes32 ids = keccak256(abi.encodePacked(vault.batchId(batches[0]), vault.batchId(batches[1])));
            (uint8 v, bytes32 r, bytes32 s) = _authorize(payer, need, ids);
            vault.commitManyWithAuthorization(batches, until, v, r, s);
        } else {
            vm.prank(payer);
            token.approve(address(vault), need);
            vm.prank(payer);
            vault.commitMany(batches, until);
        }
    }

    function commitAgain(uint256 which) external {
        if (known.length == 0) return;
        BatchPayments.Batch memory batch = known[which % known.length].terms;
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, vault.batchId(batch)));
        vm.prank(batch.payer);
        vault.commit(batch, type(uint40).max);
    }

    function seedOf(uint256 which, bytes32 value) external {
        if (known.length == 0) return;
        uint256 time = vault.drawTime(known[which % known.length].terms.uploadBy);
        if (block.timestamp < beacon.boundary(time) || value == 0) return;
        beacon.post(time, abi.encode(value));
    }

    /// The draws in `mask`, done or not.
    function settle(uint256 which, uint8 mask) external {
        if (known.length == 0) return;
        Known storage k = known[which % known.length];
        BatchPayments.Batch memory batch = k.terms;
        uint256 end = vault.claimEnd(batch.uploadBy);
        if (block.timestamp > end || vault.seedFor(batch.uploadBy) == 0) {
            bytes memory over = abi.encodeWithSelector(BatchPayments.ClaimOver.selector, end, block.timestamp);
            bytes memory noSeed =
                abi.encodeWithSelector(BatchPayments.NoSeed.selector, vault.drawTime(batch.uploadBy));
            vm.expectRevert(block.timestamp > end ? over : noSeed);
            vault.settle(batch, new BatchPayments.Win[](1), "");
            return;
        }
        Tree memory tree = _tree(k.random, k.leaves);
        for (uint8 draw; draw < batch.draws; ++draw) {
            if (mask >> draw & 1 == 0) continue;
            bool isDone = k.record >> (40 + draw) & 1 == 1;
            BatchPayments.Win[] memory wins = winsOf(batch, tree, draw, 1);
            uint256 settled = vault.settle(batch, wins, "");
            vm.assertEq(settled, isDone ? 0 : 1, "settled");
            if (isDone) continue;
            k.record |= 1 << (40 + draw);
            prizes += vault.prize(batch, draw);
            tips += batch.tip;
            escrow -= vault.prize(batch, draw) + batch.tip;
        }
    }

    function refund(uint256 which) external {
        if (known.length == 0) return;
        Known storage k = known[which % known.length];
        BatchPayments.Batch memory batch = k.terms;
        uint256 end = vault.claimEnd(batch.uploadBy);
        uint256 due;
        for (uint8 draw; draw < batch.draws; ++draw) {
            if (k.record >> (40 + draw) & 1 == 0) due += vault.prize(batch, draw) + batch.tip;
        }
        if (block.timestamp <= end) {
            vm.expectRevert(abi.encodeWithSelector(BatchPayments.ClaimOpen.selector, end, block.timestamp));
        } else if (due == 0) {
            vm.expectRevert(
                abi.encodeWithSelector(BatchPayments.NothingToRefund.selector, vault.batchId(batch))
            );
        }
        uint256 amount = vault.refund(batch);
        if (block.timestamp <= end || due == 0) return;
        vm.assertEq(amount, due, "refund");
        k.record |= ((1 << batch.draws) - 1) << 40;
        refunded += due;
        escrow -= due;
    }

    /// Past upload windows and claims.
    function waitLong(uint32 time) external {
        vm.warp(block.timestamp + time % 20 days);
    }

    function batchCount() external view returns (uint256) {
        return known.length;
    }

    function batchRecordOf(uint256 index) external view returns (bytes32, uint256) {
        return (vault.batchId(known[index].terms), known[index].record);
    }
}
