// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {BatchPayments} from "../src/BatchPayments.sol";
import {VaultCore} from "../src/VaultCore.sol";
import {BatchBase} from "./support/BatchBase.sol";

/// @title Commits with a signature: EIP-2612 (the payer sends) and EIP-3009 (anybody sends)
contract SignedCommitsTest is BatchBase {
    uint256 private constant KEY = 0xC0FFEE;
    uint256 private constant OTHER_KEY = 0xBEEF;
    uint256 private constant FUNDS = 1_000_000;
    address private immutable signer = vm.addr(KEY);

    struct Signature {
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    function setUp() public {
        _prepare();
        vm.prank(PAYER);
        token.transfer(signer, FUNDS);
    }

    function _terms() private view returns (BatchPayments.Batch memory) {
        return BatchPayments.Batch(signer, keccak256("root"), 1000, TIP, uploadBy(), 3);
    }

    function _sign(uint256 key, bytes32 structHash) private view returns (Signature memory signature) {
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
        (signature.v, signature.r, signature.s) = vm.sign(key, digest);
    }

    function _permit(uint256 key, uint256 value, uint40 deadline) private view returns (Signature memory) {
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        return _sign(
            key,
            keccak256(
                abi.encode(typeHash, signer, address(vault), value, token.nonces(signer), uint256(deadline))
            )
        );
    }

    function _authorization(uint256 key, uint256 value, uint40 validUntil, bytes32 nonce)
        private
        view
        returns (Signature memory)
    {
        bytes32 typeHash = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        return _sign(
            key,
            keccak256(abi.encode(typeHash, signer, address(vault), value, 0, uint256(validUntil) + 1, nonce))
        );
    }

    function _commitPermit(address sender, BatchPayments.Batch memory b, uint40 until, Signature memory sig)
        private
        returns (bytes32)
    {
        vm.prank(sender);
        return vault.commitWithPermit(b, until, sig.v, sig.r, sig.s);
    }

    function _commitSigned(BatchPayments.Batch memory b, uint40 until, Signature memory sig)
        private
        returns (bytes32)
    {
        vm.prank(STRANGER);
        return vault.commitWithAuthorization(b, until, sig.v, sig.r, sig.s);
    }

    function _assertUntouched(BatchPayments.Batch memory batch) private view {
        vm.assertEq(vault.records(vault.batchId(batch)), 0, "record");
        vm.assertEq(token.balanceOf(signer), FUNDS, "payer");
        vm.assertEq(token.balanceOf(address(vault)), 0, "vault");
    }

    // ---- EIP-2612 ----

    function test_permit() public {
        BatchPayments.Batch memory batch = _terms();
        uint256 need = escrowOf(batch);
        uint40 until = uint40(START + 60);
        Signature memory sig = _permit(KEY, need, until);
        vm.warp(START + 60);
        bytes32 id = _commitPermit(signer, batch, until, sig);
        vm.assertEq(id, vault.batchId(batch), "id");
        vm.assertEq(vault.records(id), START + 60, "record");
        vm.assertEq(token.balanceOf(address(vault)), need, "vault");
        vm.assertEq(token.allowance(signer, address(vault)), 0, "exactly used up");
    }

    /// Whoever sees the permit can send it first: the commit still pays.
    function test_permit_frontRun() public {
        BatchPayments.Batch memory batch = _terms();
        uint256 need = escrowOf(batch);
        Signature memory sig = _permit(KEY, need, uint40(START));
        vm.prank(STRANGER);
        token.permit(signer, address(vault), need, START, sig.v, sig.r, sig.s);
        bytes32 id = _commitPermit(signer, batch, uint40(START), sig);
        vm.assertEq(vault.records(id), START, "record");
        vm.assertEq(token.balanceOf(address(vault)), need, "vault");
    }

    function test_permit_wrongSignature() public {
        BatchPayments.Batch memory batch = _terms();
        uint256 need = escrowOf(batch);
        Signature[3] memory bad = [
            _permit(OTHER_KEY, need, uint40(START)),
            _permit(KEY, need - 1, uint40(START)),
            _permit(KEY, need, uint40(START) + 1)
        ];
        for (uint256 i; i < 3; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IERC20Errors.ERC20InsufficientAllowance.selector, address(vault), 0, need
                )
            );
            _commitPermit(signer, batch, uint40(START), bad[i]);
            _assertUntouched(batch);
        }
    }

    /// With an allowance the signature does not matter, as the payer itself sends.
    function test_permit_notNeeded() public {
        vm.prank(signer);
        token.approve(address(vault), 1_000_000);
        bytes32 id = _commitPermit(signer, _terms(), uint40(START), Signature(0, 0, 0));
        vm.assertEq(vault.records(id), START, "record");
    }

    /// It sets the allowance: one that was there for other transactions is gone.
    function test_permit_lowersAnAllowance() public {
        vm.prank(signer);
        token.approve(address(vault), FUNDS);
        BatchPayments.Batch memory batch = _terms();
        uint256 need = escrowOf(batch);
        _commitPermit(signer, batch, uint40(START), _permit(KEY, need, uint40(START)));
        vm.assertEq(token.allowance(signer, address(vault)), 0, "nothing is left of it");
        batch.root = keccak256("other");
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(vault), 0, need)
        );
        commit(batch);
    }

    function test_permit_otherSender() public {
        BatchPayments.Batch memory batch = _terms();
        Signature memory sig = _permit(KEY, escrowOf(batch), uint40(START));
        vm.expectRevert(abi.encodeWithSelector(VaultCore.NotPayer.selector, signer, STRANGER));
        _commitPermit(STRANGER, batch, uint40(START), sig);
        _assertUntouched(batch);
    }

    function test_permit_twice() public {
        BatchPayments.Batch memory batch = _terms();
        Signature memory sig = _permit(KEY, escrowOf(batch), uint40(START));
        bytes32 id = _commitPermit(signer, batch, uint40(START), sig);
        sig = _permit(KEY, escrowOf(batch), uint40(START));
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, id));
        _commitPermit(signer, batch, uint40(START), sig);
        vm.assertEq(token.balanceOf(address(vault)), escrowOf(batch), "charged once");
    }

    function test_permit_late() public {
        BatchPayments.Batch memory batch = _terms();
        Signature memory sig = _permit(KEY, escrowOf(batch), uint40(START));
        vm.warp(START + 1);
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Expired.selector, START, START + 1));
        _commitPermit(signer, batch, uint40(START), sig);
        _assertUntouched(batch);
    }

    // ---- EIP-3009, one batch ----

    function test_authorization_anybodySends() public {
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = vault.batchId(batch);
        uint40 until = uint40(START + 60);
        Signature memory sig = _authorization(KEY, escrowOf(batch), until, id);
        vm.warp(START + 60);
        vm.expectEmit(address(vault));
        emit BatchPayments.Committed(id, signer, batch.root, 1000, TIP, batch.uploadBy, 3);
        vm.assertEq(_commitSigned(batch, until, sig), id, "id");
        vm.assertEq(vault.records(id), START + 60, "record");
        vm.assertEq(token.balanceOf(address(vault)), escrowOf(batch), "vault");
        vm.assertEq(token.balanceOf(signer), FUNDS - escrowOf(batch), "payer");
    }

    function test_authorization_replayed() public {
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = vault.batchId(batch);
        Signature memory sig = _authorization(KEY, escrowOf(batch), uint40(START), id);
        _commitSigned(batch, uint40(START), sig);
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, id));
        _commitSigned(batch, uint40(START), sig);
        // After a plain commit of the same batch too.
        batch.root = keccak256("other");
        id = vault.batchId(batch);
        vm.prank(signer);
        token.approve(address(vault), FUNDS);
        commit(batch);
        sig = _authorization(KEY, escrowOf(batch), uint40(START), id);
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, id));
        _commitSigned(batch, uint40(START), sig);
        vm.assertEq(token.balanceOf(address(vault)), 2 * escrowOf(batch), "each charged once");
    }

    /// The payer has cancelled it: the nonce is used, and the batch is not recorded.
    function test_authorization_usedAlready() public {
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = vault.batchId(batch);
        Signature memory sig = _authorization(KEY, escrowOf(batch), uint40(START), id);
        bytes32 typeHash = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");
        Signature memory cancel = _sign(KEY, keccak256(abi.encode(typeHash, signer, id)));
        token.cancelAuthorization(signer, id, cancel.v, cancel.r, cancel.s);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, signer, id));
        _commitSigned(batch, uint40(START), sig);
        _assertUntouched(batch);
    }

    function test_authorization_wrongSignature() public {
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = vault.batchId(batch);
        uint256 need = escrowOf(batch);
        Signature[5] memory bad = [
            _authorization(OTHER_KEY, need, uint40(START), id),
            _authorization(KEY, need + 1, uint40(START), id),
            _authorization(KEY, need, uint40(START) + 1, id),
            _authorization(KEY, need, uint40(START), keccak256("other")),
            // What pays for a list of this one batch does not pay for the batch by itself.
            _authorization(KEY, need, uint40(START), keccak256(abi.encodePacked(id)))
        ];
        for (uint256 i; i < bad.length; ++i) {
            vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
            _commitSigned(batch, uint40(START), bad[i]);
            _assertUntouched(batch);
        }
    }

    /// Any other terms have another id: the signature does not fit them.
    function test_authorization_otherTerms() public {
        BatchPayments.Batch memory batch = _terms();
        Signature memory sig = _authorization(KEY, escrowOf(batch), uint40(START), vault.batchId(batch));
        batch.root = keccak256("other");
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _commitSigned(batch, uint40(START), sig);
        batch = _terms();
        batch.payer = PAYER;
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _commitSigned(batch, uint40(START), sig);
        _assertUntouched(_terms());
    }

    /// Nobody can take the signed transfer to the token itself: only the vault may receive it.
    function test_authorization_cannotBeSentToTheToken() public {
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = vault.batchId(batch);
        uint256 need = escrowOf(batch);
        Signature memory sig = _authorization(KEY, need, uint40(START), id);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(vault)));
        vm.prank(STRANGER);
        token.receiveWithAuthorization(signer, address(vault), need, 0, START + 1, id, sig.v, sig.r, sig.s);
    }

    function test_authorization_late() public {
        BatchPayments.Batch memory batch = _terms();
        Signature memory sig = _authorization(KEY, escrowOf(batch), uint40(START), vault.batchId(batch));
        vm.warp(START + 1);
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Expired.selector, START, START + 1));
        _commitSigned(batch, uint40(START), sig);
        // A later deadline than the signed one is not signed.
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _commitSigned(batch, uint40(START + 1), sig);
        _assertUntouched(batch);
    }

    // ---- EIP-3009, many batches ----

    function _list() private view returns (BatchPayments.Batch[] memory batches, bytes32 nonce, uint256 sum) {
        batches = new BatchPayments.Batch[](3);
        bytes memory ids;
        for (uint256 i; i < 3; ++i) {
            batches[i] = _terms();
            batches[i].root = bytes32(i);
            batches[i].total += uint96(i);
            ids = bytes.concat(ids, vault.batchId(batches[i]));
            sum += escrowOf(batches[i]);
        }
        nonce = keccak256(ids);
    }

    function _commitManySigned(BatchPayments.Batch[] memory batches, uint40 until, Signature memory sig)
        private
    {
        vm.prank(STRANGER);
        vault.commitManyWithAuthorization(batches, until, sig.v, sig.r, sig.s);
    }

    function test_many() public {
        (BatchPayments.Batch[] memory batches, bytes32 nonce, uint256 sum) = _list();
        Signature memory sig = _authorization(KEY, sum, uint40(START), nonce);
        _commitManySigned(batches, uint40(START), sig);
        for (uint256 i; i < 3; ++i) {
            vm.assertEq(vault.records(vault.batchId(batches[i])), START, "record");
        }
        vm.assertEq(token.balanceOf(address(vault)), sum, "vault");
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, vault.batchId(batches[0])));
        _commitManySigned(batches, uint40(START), sig);
        vm.assertEq(token.balanceOf(address(vault)), sum, "charged once");
    }

    function test_many_otherOrderOrPart() public {
        (BatchPayments.Batch[] memory batches, bytes32 nonce, uint256 sum) = _list();
        Signature memory sig = _authorization(KEY, sum, uint40(START), nonce);
        (batches[0], batches[1]) = (batches[1], batches[0]);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _commitManySigned(batches, uint40(START), sig);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _commitManySigned(one(batches[0]), uint40(START), sig);
        _assertUntouched(batches[0]);
    }

    function test_many_refused() public {
        (BatchPayments.Batch[] memory batches, bytes32 nonce, uint256 sum) = _list();
        Signature memory sig = _authorization(KEY, sum, uint40(START), nonce);
        vm.expectRevert(BatchPayments.NoBatches.selector);
        _commitManySigned(new BatchPayments.Batch[](0), uint40(START), sig);
        batches[2].payer = PAYER;
        vm.expectRevert(abi.encodeWithSelector(VaultCore.NotPayer.selector, PAYER, signer));
        _commitManySigned(batches, uint40(START), sig);
        (batches,,) = _list();
        batches[2] = batches[1];
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, vault.batchId(batches[1])));
        _commitManySigned(batches, uint40(START), sig);
        (batches,,) = _list();
        vm.warp(START + 1);
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Expired.selector, START, START + 1));
        _commitManySigned(batches, uint40(START), sig);
        _assertUntouched(batches[0]);
    }
}
