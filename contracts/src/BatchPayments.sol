// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IBeacon} from "./IBeacon.sol";
import {SumProof} from "./SumProof.sol";
import {VaultCore} from "./VaultCore.sol";

/// @title Payments for any number of chunks at once: the payer escrows, draws pay
/// @notice A batch is a Merkle-sum tree of leaves, one a chunk, each with the shares of the nodes that are to store
/// it. Its life, in seconds since the Unix epoch (every moment belongs to the earlier part):
///
///     commit ... uploadBy                  nodes accept the chunks
///     ... drawTime = uploadBy + drawDelay  nobody can know the seed yet
///     ... claimEnd = drawTime + claimWindow  once the seed is known anybody can settle the draws
///     later                                anybody can send what is unsettled back to the payer
///
/// The seed picks one point of [0, total) a draw, and the leaf that contains it pays its own shares the draw's prize
/// pro rata. A draw is settled or refunded, never both and never twice.
abstract contract BatchPayments is VaultCore {
    /// @notice The terms of a batch. All of them are in its id.
    struct Batch {
        /// Who pays, and gets back what is unsettled.
        address payer;
        /// The root hash of the Merkle-sum tree.
        bytes32 root;
        /// The tree's sum: what all draws together pay, in units of the token.
        uint96 total;
        /// What the sender of a settlement gets for each draw, on top of the total, in units of the token.
        uint96 tip;
        /// Until when nodes accept the chunks.
        uint40 uploadBy;
        /// How many draws share the total; 1 to the lower of MAX_DRAWS and the total.
        uint8 draws;
    }

    /// @notice One draw with the leaf that won it.
    struct Win {
        /// The number of the draw, from 0.
        uint8 draw;
        /// The chunk's address.
        bytes32 chunk;
        /// Words `payee << 96 | amount`, in the order of the chunk's quotes.
        bytes32[] shares;
        /// Two words a level, from the leaf up: `[hash, side << 255 | sum]`, side 1 if the sibling is on the left.
        bytes32[] siblings;
    }

    // ---- errors ----

    /// @notice There is no contract at the beacon's address.
    error NotABeacon(address beacon);
    /// @notice The list of batches is empty.
    error NoBatches();
    /// @notice Not 1 to `most` draws: `most` is the lower of MAX_DRAWS and the total.
    error BadDraws(uint8 draws, uint256 most);
    /// @notice No batch with these terms was ever paid.
    error Unknown(bytes32 id);
    /// @notice The seed that became public after `drawTime` is not known to the beacon.
    error NoSeed(uint256 drawTime);
    /// @notice It is too late to settle: `time` is the block's timestamp.
    error ClaimOver(uint256 claimEnd, uint256 time);
    /// @notice It is too early to refund: `time` is the block's timestamp.
    error ClaimOpen(uint256 claimEnd, uint256 time);
    /// @notice Every draw is settled or refunded.
    error NothingToRefund(bytes32 id);
    /// @notice The win at `index` is for a draw that the batch does not have.
    error BadDraw(uint256 index, uint8 draw);
    /// @notice The win at `index` proves no leaf of this batch.
    error BadProof(uint256 index);
    /// @notice The win at `index` proves the leaf that lies in [from, to), where the draw's `point` is not.
    error NotWinner(uint256 index, uint256 point, uint256 from, uint256 to);

    // ---- events ----

    /// @notice A batch was paid and its escrow is held. All its terms are here: whoever has the chain's events can
    /// refund a batch of which all files are lost.
    event Committed(
        bytes32 indexed id,
        address indexed payer,
        bytes32 root,
        uint96 total,
        uint96 tip,
        uint40 uploadBy,
        uint8 draws
    );
    /// @notice A draw paid `prize` to the shares of `chunk`.
    event Settled(bytes32 indexed id, uint256 indexed draw, bytes32 chunk, uint256 prize);
    /// @notice `amount` went back to the batch's payer.
    event Refunded(bytes32 indexed id, uint256 amount);

    // ---- constants and storage ----

    /// @notice Most draws of a batch. One bit each must fit beside the 40 bits of a record's time.
    uint256 public constant MAX_DRAWS = 200;
    /// @notice Most levels of a proof: enough for 2^32 leaves.
    uint256 public constant MAX_DEPTH = 32;
    /// @dev Where the bits of the draws begin in a record.
    uint256 private constant DRAW_BITS = 40;

    /// @notice Where the seeds come from.
    IBeacon public immutable beacon;
    /// @notice How long after `uploadBy` the draw's seed may become public at the earliest, in seconds (15 minutes
    /// in production).
    uint40 public immutable drawDelay;
    /// @notice How long after `drawTime` draws can be settled, in seconds (30 days in production).
    uint40 public immutable claimWindow;

    constructor(IBeacon beacon_, uint40 drawDelay_, uint40 claimWindow_) {
        if (address(beacon_).code.length == 0) revert NotABeacon(address(beacon_));
        beacon = beacon_;
        drawDelay = drawDelay_;
        claimWindow = claimWindow_;
    }

    // ---- paying ----

    /// @notice Pays for a batch: takes `total + tip * draws` from the payer into escrow.
    /// @dev Only `batch.payer` itself may call, after an allowance of at least that. Reverts, and then charges
    /// nothing, with NotPayer, Expired, Exists, BadUploadBy, ZeroTotal, BadDraws, TransferFailed, WrongAmount, or
    /// with the token's own error. Nobody checks the tree here: a root that no leaf fits is the payer's own loss of
    /// time, and all of it comes back by `refund`.
    /// @param batch the terms
    /// @param validUntil last block timestamp at which the call may succeed; not part of the id
    /// @return id the batch's id, equal to `batchId(batch)`
    function commit(Batch calldata batch, uint40 validUntil) external nonReentrant returns (bytes32 id) {
        _checkSender(batch.payer);
        _checkDeadline(validUntil);
        id = _open(batch);
        _pull(batch.payer, _escrow(batch));
    }

    /// @notice Pays for several batches of one payer with one transfer: all of them or none.
    /// @dev As `commit`; NotPayer also if any batch names another payer, Exists also if one is in the list twice,
    /// NoBatches if the list is empty.
    /// @param batches 1 or more
    /// @param validUntil last block timestamp at which the call may succeed; not part of the ids
    function commitMany(Batch[] calldata batches, uint40 validUntil) external nonReentrant {
        _checkDeadline(validUntil);
        (, uint256 amount) = _openAll(batches, msg.sender);
        _pull(msg.sender, amount);
    }

    /// @notice As `commit`, with the allowance signed off chain (EIP-2612) instead of given by a transaction before.
    /// @dev Only `batch.payer` itself may call. A permit that fails is not an error by itself: somebody may have
    /// sent it before this call, and then the allowance is there. If it is not, the transfer reverts. A permit SETS
    /// the allowance and adds nothing to it: a larger one is lowered to this batch's escrow, which is then used up,
    /// and other signed transactions of the payer that count on it revert.
    /// @param batch the terms
    /// @param validUntil as for `commit`, and the permit's deadline; its value is `total + tip * draws`
    /// @param v of the permit's signature
    /// @param r of the permit's signature
    /// @param s of the permit's signature
    /// @return id the batch's id
    function commitWithPermit(Batch calldata batch, uint40 validUntil, uint8 v, bytes32 r, bytes32 s)
        external
        nonReentrant
        returns (bytes32 id)
    {
        _checkSender(batch.payer);
        _checkDeadline(validUntil);
        id = _open(batch);
        uint256 amount = _escrow(batch);
        // The payer pays in any case by `_pull` alone: what the permit does or fails to do is not looked at.
        try IERC20Permit(address(token)).permit(batch.payer, address(this), amount, validUntil, v, r, s) {}
            catch {}
        _pull(batch.payer, amount);
    }

    /// @notice As `commit`, with a transfer that the payer signed off chain (EIP-3009): the payer needs no gas.
    /// @dev Anybody may send it: the signature is over the id as its nonce, so it can pay for this batch only.
    /// Reverts as `commit` does but for NotPayer, or with the token's own error if the signature is not the payer's
    /// or its nonce is used.
    /// @param batch the terms
    /// @param validUntil as for `commit`. Signed is ReceiveWithAuthorization(payer, this vault,
    /// total + tip * draws, 0, validUntil + 1, id): the standard's `validBefore` is the first second that is too late
    /// @param v of the payer's signature
    /// @param r of the payer's signature
    /// @param s of the payer's signature
    /// @return id the batch's id
    function commitWithAuthorization(Batch calldata batch, uint40 validUntil, uint8 v, bytes32 r, bytes32 s)
        external
        nonReentrant
        returns (bytes32 id)
    {
        _checkDeadline(validUntil);
        id = _open(batch);
        _receive(batch.payer, _escrow(batch), validUntil, id, v, r, s);
    }

    /// @notice As `commitMany`, with one transfer that the payer signed off chain (EIP-3009).
    /// @dev Anybody may send it. The signature's nonce is keccak256 of all ids, one behind the other, in the order
    /// of the list: it can pay for exactly this list.
    /// @param batches 1 or more, all of one payer
    /// @param validUntil as for `commitWithAuthorization`
    /// @param v of the payer's signature
    /// @param r of the payer's signature
    /// @param s of the payer's signature
    function commitManyWithAuthorization(
        Batch[] calldata batches,
        uint40 validUntil,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        _checkDeadline(validUntil);
        if (batches.length == 0) revert NoBatches();
        address payer = batches[0].payer;
        (bytes32[] memory ids, uint256 amount) = _openAll(batches, payer);
        _receive(payer, amount, validUntil, keccak256(abi.encodePacked(ids)), v, r, s);
    }

    // ---- settling ----

    /// @notice Pays the prizes of draws to the shares of the leaves that won them, as credit, and the tips of these
    /// draws to the sender.
    /// @dev Anybody may call, at `claimEnd` at the latest. A draw that is done already is skipped without a look at
    /// its proof, so that whoever comes second loses no more than the gas. Any other fault reverts the whole call:
    /// Unknown, ClaimOver, NoSeed, BadDraw, BadProof, NotWinner, TransferFailed, WrongAmount, the beacon's or the
    /// token's own error. A share of the zero address is credited like any other and lost. The seed must be known
    /// at the end of this very call: a post that gives 0 is undone with the revert NoSeed. So BlockhashBeacon's
    /// first post, which only arms a block, must be a call of its own; its second can be this one's `seedProof`.
    /// @param batch the terms
    /// @param wins draws with their leaves, in any order
    /// @param seedProof if not empty and the seed is not known: given to the beacon first
    /// @return settled how many draws this call settled
    function settle(Batch calldata batch, Win[] calldata wins, bytes calldata seedProof)
        external
        nonReentrant
        returns (uint256 settled)
    {
        bytes32 id = batchId(batch);
        uint256 record = _known(id);
        uint256 end = claimEnd(batch.uploadBy);
        if (block.timestamp > end) revert ClaimOver(end, block.timestamp);
        bytes32 seed = _seed(batch.uploadBy, seedProof);
        for (uint256 i; i < wins.length; ++i) {
            Win calldata win = wins[i];
            if (win.draw >= batch.draws) revert BadDraw(i, win.draw);
            uint256 bit = 1 << (DRAW_BITS + win.draw);
            if (record & bit != 0) continue;
            record |= bit;
            ++settled;
            uint256 sum = _checkWin(batch, win, i, drawPoint(seed, id, batch.total, batch.draws, win.draw));
            uint256 amount = _prize(batch, win.draw);
            emit Settled(id, win.draw, win.chunk, amount);
            _creditShares(win.shares, sum, amount);
        }
        if (settled == 0) return 0;
        records[id] = record;
        if (batch.tip != 0) _push(msg.sender, uint256(batch.tip) * settled);
    }

    /// @notice Sends the payer prize and tip of every draw that nobody has settled.
    /// @dev Anybody may call, after `claimEnd` only. Reverts with Unknown, ClaimOpen, NothingToRefund,
    /// TransferFailed, WrongAmount or the token's own error.
    /// @param batch the terms
    /// @return amount what was sent
    function refund(Batch calldata batch) external nonReentrant returns (uint256 amount) {
        bytes32 id = batchId(batch);
        uint256 record = _known(id);
        uint256 end = claimEnd(batch.uploadBy);
        if (block.timestamp <= end) revert ClaimOpen(end, block.timestamp);
        for (uint256 draw; draw < batch.draws; ++draw) {
            uint256 bit = 1 << (DRAW_BITS + draw);
            if (record & bit != 0) continue;
            record |= bit;
            amount += _prize(batch, draw) + batch.tip;
        }
        // Every prize is at least one unit, because there are at most as many draws as units.
        if (amount == 0) revert NothingToRefund(id);
        records[id] = record;
        emit Refunded(id, amount);
        _push(batch.payer, amount);
    }

    // ---- views ----

    /// @notice The id of a batch. The terms are not checked here.
    function batchId(Batch calldata batch) public view returns (bytes32) {
        return keccak256(
            abi.encode(
                bytes32("batch"),
                block.chainid,
                address(this),
                batch.payer,
                batch.root,
                batch.total,
                batch.tip,
                batch.uploadBy,
                batch.draws
            )
        );
    }

    /// @notice The time after which the seed of a batch becomes public.
    function drawTime(uint40 uploadBy) public view returns (uint256) {
        return uint256(uploadBy) + drawDelay;
    }

    /// @notice The last block timestamp at which draws can be settled; they can be refunded from the next second on.
    function claimEnd(uint40 uploadBy) public view returns (uint256) {
        return drawTime(uploadBy) + claimWindow;
    }

    /// @notice The seed of all batches with this `uploadBy`; 0 while the beacon does not know it.
    function seedFor(uint40 uploadBy) external view returns (bytes32) {
        return beacon.seedAfter(drawTime(uploadBy));
    }

    /// @notice Where in [0, total) a draw falls. All draws of a batch share one random offset and are spread evenly
    /// from there: the expected pay of a leaf is exact, and a leaf of at least `total / draws`, rounded up, wins for
    /// sure.
    /// @dev Panics if `total` or `draws` is 0.
    function drawPoint(bytes32 seed, bytes32 id, uint96 total, uint8 draws, uint8 draw)
        public
        pure
        returns (uint256)
    {
        uint256 start = uint256(keccak256(abi.encode(seed, id))) % total;
        return (start + uint256(draw) * total / draws) % total;
    }

    /// @notice What a draw pays, in units of the token: `total / draws`, and draw 0 the rest of that division too.
    /// @return what the draw pays; 0 for a draw that the batch does not have
    function prize(Batch calldata batch, uint8 draw) external pure returns (uint256) {
        return draw < batch.draws ? _prize(batch, draw) : 0;
    }

    // ---- within ----

    /// @dev Prizes and tips of all draws; below 2^105.
    function _escrow(Batch calldata batch) private pure returns (uint256) {
        return batch.total + uint256(batch.tip) * batch.draws;
    }

    /// @dev Needs `draws` above 0.
    function _prize(Batch calldata batch, uint256 draw) private pure returns (uint256 amount) {
        amount = batch.total / batch.draws;
        if (draw == 0) amount += batch.total % batch.draws;
    }

    /// @dev Records a batch; its escrow must be taken in the same call.
    function _open(Batch calldata batch) private returns (bytes32 id) {
        id = batchId(batch);
        _record(id, batch.uploadBy);
        if (batch.total == 0) revert ZeroTotal();
        uint256 most = batch.total < MAX_DRAWS ? batch.total : MAX_DRAWS;
        if (batch.draws == 0 || batch.draws > most) revert BadDraws(batch.draws, most);
        emit Committed(id, batch.payer, batch.root, batch.total, batch.tip, batch.uploadBy, batch.draws);
    }

    /// @dev Records batches that `payer` pays for; `amount` must be taken in the same call.
    function _openAll(Batch[] calldata batches, address payer)
        private
        returns (bytes32[] memory ids, uint256 amount)
    {
        if (batches.length == 0) revert NoBatches();
        ids = new bytes32[](batches.length);
        for (uint256 i; i < batches.length; ++i) {
            Batch calldata batch = batches[i];
            if (batch.payer != payer) revert NotPayer(batch.payer, payer);
            ids[i] = _open(batch);
            amount += _escrow(batch);
        }
    }

    /// @dev Takes `amount` from `payer` with its signature and makes sure that it came: a token without EIP-3009
    /// may have a fallback that swallows the call.
    function _receive(
        address payer,
        uint256 amount,
        uint40 validUntil,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) private {
        uint256 before = _held();
        IERC3009(address(token))
            .receiveWithAuthorization(
                payer, address(this), amount, 0, uint256(validUntil) + 1, nonce, v, r, s
            );
        _checkMoved(amount, before, _held());
    }

    /// @dev The record of a batch that was paid.
    function _known(bytes32 id) private view returns (uint256 record) {
        record = records[id];
        if (record == 0) revert Unknown(id);
    }

    /// @dev The seed of a batch, posted first if it is not known and there is a proof.
    function _seed(uint40 uploadBy, bytes calldata seedProof) private returns (bytes32 seed) {
        uint256 time = drawTime(uploadBy);
        seed = beacon.seedAfter(time);
        if (seed == 0 && seedProof.length != 0) seed = beacon.post(time, seedProof);
        if (seed == 0) revert NoSeed(time);
    }

    /// @dev The win's leaf is in the tree and contains `point`; gives the leaf's sum, which is not 0, because no
    /// empty segment contains a point.
    function _checkWin(Batch calldata batch, Win calldata win, uint256 index, uint256 point)
        private
        pure
        returns (uint256 sum)
    {
        if (win.siblings.length % 2 != 0 || win.siblings.length > 2 * MAX_DEPTH) revert BadProof(index);
        sum = SumProof.leafSum(win.shares);
        if (sum == 0) revert BadProof(index);
        (bool ok, uint256 from) = SumProof.locate(
            SumProof.leafHash(win.chunk, win.shares), sum, win.siblings, batch.root, batch.total
        );
        if (!ok) revert BadProof(index);
        if (point < from || point >= from + sum) revert NotWinner(index, point, from, from + sum);
    }

    /// @dev Credits `amount` pro rata to the shares' own amounts, which add up to `sum`. The last share takes what
    /// the divisions leave, so that exactly `amount` is credited: less than one unit for each share before it.
    /// Unchecked: both factors of a product are below 2^96, the parts add up to `amount` at most, and all credits to
    /// what the vault holds.
    function _creditShares(bytes32[] calldata shares, uint256 sum, uint256 amount) private {
        uint256 left = amount;
        uint256 last = shares.length - 1;
        unchecked {
            for (uint256 i; i < last; ++i) {
                uint256 share = uint256(shares[i]);
                uint256 part = amount * uint96(share) / sum;
                left -= part;
                credit[address(uint160(share >> 96))] += part;
            }
            credit[address(uint160(uint256(shares[last]) >> 96))] += left;
        }
    }
}
