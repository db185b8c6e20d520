// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {PlainToken} from "../src/PlainToken.sol";
import {Vm} from "./support/Vm.sol";

/// @title The test network's token: what a signature can do, once, in its time, for whom it was signed
contract PlainTokenTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant NOW = 1_800_000_000;
    uint256 private constant KEY = 0xA11CE;
    address private constant TO = address(0xB0B);
    address private constant STRANGER = address(0xBAD);
    bytes32 private constant NONCE = keccak256("nonce");

    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    bytes32 private constant TRANSFER = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant CANCEL = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");

    PlainToken private token;
    address private from;

    struct Signature {
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    function setUp() public {
        vm.warp(NOW);
        from = vm.addr(KEY);
        token = new PlainToken(1000e18);
        token.transfer(from, 100);
    }

    /// The digest by the standard's own words, not by the token's code.
    function _sign(uint256 key, bytes memory fields) private view returns (Signature memory signature) {
        bytes32 domain = keccak256(
            abi.encode(
                DOMAIN, keccak256("Spillway Test Token"), keccak256("1"), block.chainid, address(token)
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(bytes2(0x1901), domain, keccak256(fields)));
        (signature.v, signature.r, signature.s) = vm.sign(key, digest);
    }

    function _authorize(bytes32 kind, uint256 validAfter, uint256 validBefore)
        private
        view
        returns (Signature memory)
    {
        return _sign(KEY, abi.encode(kind, from, TO, uint256(40), validAfter, validBefore, NONCE));
    }

    function _receive(Signature memory g) private {
        vm.prank(TO);
        token.receiveWithAuthorization(from, TO, 40, 0, NOW + 1, NONCE, g.v, g.r, g.s);
    }

    function _transfer(Signature memory g, uint256 validAfter, uint256 validBefore) private {
        vm.prank(STRANGER);
        token.transferWithAuthorization(from, TO, 40, validAfter, validBefore, NONCE, g.v, g.r, g.s);
    }

    function _assertUnmoved(bool used) private view {
        vm.assertEq(token.balanceOf(from), 100, "from");
        vm.assertEq(token.balanceOf(TO), 0, "to");
        vm.assertTrue(token.authorizationState(from, NONCE) == used, "nonce");
    }

    function _assertMoved() private view {
        vm.assertEq(token.balanceOf(from), 60, "from");
        vm.assertEq(token.balanceOf(TO), 40, "to");
        vm.assertTrue(token.authorizationState(from, NONCE), "nonce");
    }

    function test_whatItIs() public {
        PlainToken fresh = new PlainToken(12345);
        vm.assertEq(keccak256(bytes(fresh.name())), keccak256("Spillway Test Token"), "name");
        vm.assertEq(keccak256(bytes(fresh.symbol())), keccak256("SPT"), "symbol");
        vm.assertEq(fresh.decimals(), 18, "decimals");
        vm.assertEq(fresh.totalSupply(), 12345, "supply");
        vm.assertEq(fresh.balanceOf(address(this)), 12345, "deployer");
    }

    // ---- EIP-3009 ----

    function test_receive_onceByTheReceiver() public {
        Signature memory g = _authorize(RECEIVE, 0, NOW + 1);
        _receive(g);
        _assertMoved();
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, from, NONCE));
        _receive(g);
        _assertMoved();
    }

    function test_receive_byAnotherSender() public {
        Signature memory g = _authorize(RECEIVE, 0, NOW + 1);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, TO));
        vm.prank(STRANGER);
        token.receiveWithAuthorization(from, TO, 40, 0, NOW + 1, NONCE, g.v, g.r, g.s);
        _assertUnmoved(false);
    }

    /// The two kinds are not interchangeable: a receive cannot be turned into a transfer that anybody sends.
    function test_receive_isNoTransfer() public {
        Signature memory g = _authorize(RECEIVE, 0, NOW + 1);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _transfer(g, 0, NOW + 1);
        _assertUnmoved(false);
    }

    function test_transfer_onceByAnybody() public {
        Signature memory g = _authorize(TRANSFER, 0, NOW + 1);
        _transfer(g, 0, NOW + 1);
        _assertMoved();
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, from, NONCE));
        _transfer(g, 0, NOW + 1);
        _assertMoved();
    }

    /// Both bounds are outside, as the standard says.
    function test_transfer_timesToTheSecond() public {
        Signature memory g = _authorize(TRANSFER, NOW, NOW + 10);
        bytes memory reason =
            abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, NOW, NOW + 10);
        uint256[3] memory outside = [NOW, NOW + 10, NOW + 11];
        for (uint256 i; i < 3; ++i) {
            vm.warp(outside[i]);
            vm.expectRevert(reason);
            _transfer(g, NOW, NOW + 10);
            _assertUnmoved(false);
        }
        vm.warp(NOW + 9);
        _transfer(g, NOW, NOW + 10);
        _assertMoved();
    }

    function test_cancel_stopsBothKinds() public {
        Signature memory c = _sign(KEY, abi.encode(CANCEL, from, NONCE));
        token.cancelAuthorization(from, NONCE, c.v, c.r, c.s);
        bytes memory used = abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, from, NONCE);
        Signature memory receiving = _authorize(RECEIVE, 0, NOW + 1);
        vm.expectRevert(used);
        _receive(receiving);
        Signature memory transferring = _authorize(TRANSFER, 0, NOW + 1);
        vm.expectRevert(used);
        _transfer(transferring, 0, NOW + 1);
        vm.expectRevert(used);
        token.cancelAuthorization(from, NONCE, c.v, c.r, c.s);
        _assertUnmoved(true);
    }

    function test_foreignKey() public {
        uint256 foreign = KEY + 1;
        Signature memory g =
            _sign(foreign, abi.encode(RECEIVE, from, TO, uint256(40), uint256(0), NOW + 1, NONCE));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _receive(g);
        Signature memory c = _sign(foreign, abi.encode(CANCEL, from, NONCE));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.cancelAuthorization(from, NONCE, c.v, c.r, c.s);
        _assertUnmoved(false);
    }

    function test_everyFieldIsSigned() public {
        Signature memory g = _authorize(RECEIVE, 0, NOW + 1);
        bytes4 bad = ERC3009.ERC3009InvalidSignature.selector;
        vm.expectRevert(bad);
        vm.prank(TO);
        token.receiveWithAuthorization(STRANGER, TO, 40, 0, NOW + 1, NONCE, g.v, g.r, g.s);
        vm.expectRevert(bad);
        vm.prank(STRANGER);
        token.receiveWithAuthorization(from, STRANGER, 40, 0, NOW + 1, NONCE, g.v, g.r, g.s);
        vm.expectRevert(bad);
        vm.prank(TO);
        token.receiveWithAuthorization(from, TO, 41, 0, NOW + 1, NONCE, g.v, g.r, g.s);
        vm.expectRevert(bad);
        vm.prank(TO);
        token.receiveWithAuthorization(from, TO, 40, 1, NOW + 1, NONCE, g.v, g.r, g.s);
        vm.expectRevert(bad);
        vm.prank(TO);
        token.receiveWithAuthorization(from, TO, 40, 0, NOW + 2, NONCE, g.v, g.r, g.s);
        vm.expectRevert(bad);
        vm.prank(TO);
        token.receiveWithAuthorization(from, TO, 40, 0, NOW + 1, keccak256("other"), g.v, g.r, g.s);
        _assertUnmoved(false);
        vm.chainId(block.chainid + 1);
        vm.expectRevert(bad);
        _receive(g);
    }

    // ---- EIP-2612 ----

    function test_permit_once() public {
        Signature memory g = _sign(KEY, abi.encode(PERMIT, from, TO, uint256(40), uint256(0), NOW));
        vm.prank(STRANGER);
        token.permit(from, TO, 40, NOW, g.v, g.r, g.s);
        vm.assertEq(token.allowance(from, TO), 40, "allowance");
        vm.assertEq(token.nonces(from), 1, "nonce");
        vm.prank(TO);
        token.transferFrom(from, TO, 40);
        vm.assertEq(token.balanceOf(TO), 40, "to");
        // Replayed, the digest is one of nonce 1, so that the recovered signer is an address nobody knows.
        (bool ok, bytes memory reason) =
            address(token).call(abi.encodeCall(token.permit, (from, TO, 40, NOW, g.v, g.r, g.s)));
        vm.assertTrue(!ok && bytes4(reason) == ERC20Permit.ERC2612InvalidSigner.selector, "replay");
        vm.assertEq(token.allowance(from, TO), 0, "allowance after the replay");
    }

    function test_permit_deadlineToTheSecond() public {
        Signature memory g = _sign(KEY, abi.encode(PERMIT, from, TO, uint256(40), uint256(0), NOW));
        vm.warp(NOW + 1);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, NOW));
        token.permit(from, TO, 40, NOW, g.v, g.r, g.s);
        vm.assertEq(token.allowance(from, TO), 0, "allowance");
    }

    function test_permit_foreignKey() public {
        Signature memory g = _sign(KEY + 1, abi.encode(PERMIT, from, TO, uint256(40), uint256(0), NOW));
        vm.expectRevert(
            abi.encodeWithSelector(ERC20Permit.ERC2612InvalidSigner.selector, vm.addr(KEY + 1), from)
        );
        token.permit(from, TO, 40, NOW, g.v, g.r, g.s);
        vm.assertEq(token.allowance(from, TO), 0, "allowance");
    }
}
