use alloy::{consensus::TxEip1559, primitives::TxKind};
use serde_json::Value;
use spillway_types::{ChunkAddress, Domain, Leaf, NetworkId, Share};

use super::*;
use crate::{PlanMode, Wallet};

/// Two leaves, paid by the wallet of the key of 32 bytes 2.
fn plan() -> Plan {
    let leaf = |name: u8| Leaf {
        address: ChunkAddress([name; 32]),
        shares: [1, 2, 3, 4, 5].map(|number| Share {
            payee: RewardAddress([0xa0 + number; 20]),
            amount: Atto(u128::from(number) << 80),
        }),
    };
    Plan {
        domain: Domain {
            network: NetworkId::named("golden"),
            chain_id: 31_337,
            vault: EvmAddress([0xc4; 20]),
        },
        mode: PlanMode::Direct,
        payer: Wallet::from_bytes(&[2; 32]).unwrap().address(),
        leaves: vec![leaf(7), leaf(8)],
        upload_by: UnixTime(1_800_086_400),
        valid_until: UnixTime(1_800_003_300),
    }
}

/// The bytes that `cast calldata` and `cast mktx` make of the same arguments.
#[test]
fn the_bytes_of_a_payment() {
    let golden: Value =
        serde_json::from_str(include_str!("../../tests/golden/pay-direct-v1.json")).unwrap();
    let text = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    let plan = plan();
    let call = pay(&plan);
    assert_eq!(plan.id().to_string(), golden["id"]);
    assert_eq!(text(&call.data), golden["data"]);
    let (hash, raw) = Wallet::from_bytes(&[2; 32]).unwrap().sign(TxEip1559 {
        chain_id: 31_337,
        nonce: 3,
        gas_limit: 300_000,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(address(call.to)),
        input: call.data.into(),
        ..TxEip1559::default()
    });
    assert_eq!(text(&raw), golden["raw"]);
    assert_eq!(hash.to_string(), golden["hash"]);
}

#[test]
fn times_beyond_the_vaults_are_its_last() {
    let late = Plan { upload_by: UnixTime(u64::MAX), ..plan() };
    let call = IVault::payDirectCall::abi_decode(&pay(&late).data).unwrap();
    assert_eq!(call.uploadBy, U40::MAX);
}
