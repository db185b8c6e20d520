//! What must be durable before a transaction is sent is looked at when it is sent.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use spillway_disk::Survival;
use spillway_pay::Chain;
use spillway_types::{Atto, EvmAddress};

use crate::{Promise, Sabotage, Sky, Violation, chain::TOKEN, durable::PlanReader, world::DataDir};

/// Somebody who looks at every transaction of an uploading process before it goes.
#[derive(Debug)]
pub(crate) struct Watch {
    pub dir: DataDir,
    pub seen: Arc<Mutex<Vec<Violation>>>,
    pub sabotage: Option<Sabotage>,
    pub sky: Sky,
    pub payer: EvmAddress,
    pub plans: PlanReader,
}

impl Watch {
    /// If the power went now, would what pays still be known? Returns the payer's tokens.
    pub(crate) fn before(&self, raw: &[u8]) -> Atto {
        let left = self.dir.machine.disk().crash(Survival::Nothing);
        if let Err(found) = self.plans.check_before_send(&left, raw) {
            let violation = Violation {
                promise: Promise::I2,
                expected: "plan and signed bytes are durable before they are sent".to_owned(),
                found: format!("{found} in {}", self.dir.name),
            };
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
        }
        self.tokens()
    }

    /// With a vault that takes the money twice, the second time.
    pub(crate) fn after(&self, before: Atto) {
        let taken = before.saturating_sub(self.tokens());
        if self.sabotage == Some(Sabotage::ChargesTwice) && taken > Atto::ZERO {
            let left = before.saturating_sub(taken).saturating_sub(taken);
            self.sky.chain().set_tokens(TOKEN, self.payer, left);
        }
    }

    fn tokens(&self) -> Atto {
        let tokens = self.sky.aside(|chain| chain.tokens(TOKEN, self.payer).now_or_never());
        tokens.and_then(Result::ok).expect("invariant: the chain itself answers at once")
    }
}
