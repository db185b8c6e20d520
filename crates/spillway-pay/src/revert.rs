//! What a contract says when it refuses, as text: the error's name with its data.

use alloy::{
    primitives::hex,
    sol_types::{Panic, Revert, SolError, SolInterface},
};

use crate::contracts::{IBeacon::IBeaconErrors, IToken::ITokenErrors, IVault::IVaultErrors};

/// The reason that revert data gives; `None` when there is no data.
pub(crate) fn reason(data: &[u8]) -> Option<String> {
    if data.is_empty() {
        return None;
    }
    if let Ok(error) = IVaultErrors::abi_decode(data) {
        return Some(vault_reason(&error));
    }
    if let Ok(error) = IBeaconErrors::abi_decode(data) {
        return Some(beacon_reason(&error));
    }
    if let Ok(error) = ITokenErrors::abi_decode(data) {
        return Some(token_reason(&error));
    }
    if let Ok(revert) = Revert::abi_decode(data) {
        return Some(revert.reason.chars().take(200).collect());
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        return Some(format!("Panic({:#x})", panic.code));
    }
    Some(format!("unknown error {}", hex::encode_prefixed(&data[..data.len().min(4)])))
}

fn vault_reason(error: &IVaultErrors) -> String {
    use IVaultErrors as E;
    match error {
        E::BadWindows(e) => format!(
            "BadWindows({}, {}, {}, {})",
            e.minWindow, e.maxWindow, e.drawDelay, e.claimWindow
        ),
        E::NotAToken(e) => format!("NotAToken({:#x})", e.token),
        E::NotABeacon(e) => format!("NotABeacon({:#x})", e.beacon),
        E::NotPayer(e) => format!("NotPayer({:#x}, {:#x})", e.payer, e.sender),
        E::Expired(e) => format!("Expired({}, {})", e.validUntil, e.time),
        E::Exists(e) => format!("Exists({:#x})", e.id),
        E::BadEntryCount(e) => format!("BadEntryCount({})", e.words),
        E::ZeroPayee(e) => format!("ZeroPayee({})", e.index),
        E::ZeroTotal(_) => "ZeroTotal()".into(),
        E::BadUploadBy(e) => {
            format!("BadUploadBy({}, {}, {})", e.uploadBy, e.earliest, e.latest)
        }
        E::BadDraws(e) => format!("BadDraws({}, {})", e.draws, e.most),
        E::NoBatches(_) => "NoBatches()".into(),
        E::Unknown(e) => format!("Unknown({:#x})", e.id),
        E::NoSeed(e) => format!("NoSeed({})", e.drawTime),
        E::ClaimOver(e) => format!("ClaimOver({}, {})", e.claimEnd, e.time),
        E::ClaimOpen(e) => format!("ClaimOpen({}, {})", e.claimEnd, e.time),
        E::NothingToRefund(e) => format!("NothingToRefund({:#x})", e.id),
        E::BadDraw(e) => format!("BadDraw({}, {})", e.index, e.draw),
        E::BadProof(e) => format!("BadProof({})", e.index),
        E::NotWinner(e) => format!("NotWinner({}, {}, {}, {})", e.index, e.point, e.from, e.to),
        E::TransferFailed(_) => "TransferFailed()".into(),
        E::WrongAmount(e) => format!("WrongAmount({}, {})", e.expected, e.moved),
        E::ReentrancyGuardReentrantCall(_) => "ReentrancyGuardReentrantCall()".into(),
    }
}

fn beacon_reason(error: &IBeaconErrors) -> String {
    use IBeaconErrors as E;
    match error {
        E::TooEarly(e) => format!("TooEarly({}, {})", e.boundary, e.time),
        E::ZeroEpoch(_) => "ZeroEpoch()".into(),
        E::NotMinedYet(e) => format!("NotMinedYet({}, {})", e.target, e.current),
        E::ZeroPeriod(_) => "ZeroPeriod()".into(),
        E::BadLength(e) => format!("BadLength({})", e.length),
        E::BadSignature(e) => format!("BadSignature({})", e.round),
    }
}

fn token_reason(error: &ITokenErrors) -> String {
    use ITokenErrors as E;
    match error {
        E::ERC20InsufficientBalance(e) => {
            format!("ERC20InsufficientBalance({:#x}, {}, {})", e.sender, e.balance, e.needed)
        }
        E::ERC20InsufficientAllowance(e) => {
            format!("ERC20InsufficientAllowance({:#x}, {}, {})", e.spender, e.allowance, e.needed)
        }
        E::ERC20InvalidApprover(e) => format!("ERC20InvalidApprover({:#x})", e.approver),
        E::ERC20InvalidReceiver(e) => format!("ERC20InvalidReceiver({:#x})", e.receiver),
        E::ERC20InvalidSender(e) => format!("ERC20InvalidSender({:#x})", e.sender),
        E::ERC20InvalidSpender(e) => format!("ERC20InvalidSpender({:#x})", e.spender),
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, U256, aliases::U40};

    use super::*;
    use crate::contracts::{IBeacon, IToken, IVault};

    #[test]
    fn errors_are_named_with_their_data() {
        let exists = IVault::Exists { id: B256::repeat_byte(7) }.abi_encode();
        assert_eq!(reason(&exists), Some(format!("Exists(0x{})", "07".repeat(32))));
        let funds = IToken::ERC20InsufficientBalance {
            sender: [1; 20].into(),
            balance: U256::from(2),
            needed: U256::from(3),
        };
        assert_eq!(
            reason(&funds.abi_encode()),
            Some(format!("ERC20InsufficientBalance(0x{}, 2, 3)", "01".repeat(20)))
        );
        let early = IBeacon::TooEarly { boundary: U256::from(8), time: U256::from(7) };
        assert_eq!(reason(&early.abi_encode()), Some("TooEarly(8, 7)".into()));
        let windows = IVault::BadWindows {
            minWindow: U40::from(1),
            maxWindow: U40::from(2),
            drawDelay: U40::from(3),
            claimWindow: U40::from(4),
        };
        assert_eq!(reason(&windows.abi_encode()), Some("BadWindows(1, 2, 3, 4)".into()));
        assert_eq!(reason(&Revert::from("why").abi_encode()), Some("why".into()));
        assert_eq!(reason(&Panic::from(0x11_u64).abi_encode()), Some("Panic(0x11)".into()));
        assert_eq!(reason(&[1, 2, 3, 4, 5]), Some("unknown error 0x01020304".into()));
        assert_eq!(reason(&[]), None);
    }
}
