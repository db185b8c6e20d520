//! Payments against the twin in memory and against a real Anvil.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod allowance;
mod anvil_process;
mod batch;
mod chain_suite;
mod chaos;
mod deadlines;
mod faults;
mod gaps;
mod gas;
mod keeper;
mod limits;
mod overlap;
mod pay_once;
mod refusals;
mod rpc;
mod secrets;
mod support;
mod vectors;

/// Runs a test of a [`support::Stage`] on both chains.
macro_rules! on_both_chains {
    ($($name:ident),+ $(,)?) => {
        mod on_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::Stage::memory().await).await;
            })+
        }
        mod on_anvil {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::Stage::anvil().await).await;
            })+
        }
    };
}
pub(crate) use on_both_chains;
