//! Payments against the twin in memory and against a real Anvil.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod allowance;
mod anvil_process;
mod authorized;
mod batch;
mod chain_suite;
mod chaos;
mod counts;
mod deadlines;
mod faults;
mod gaps;
mod gas;
mod groups;
mod hostile;
mod keeper;
mod limits;
mod overlap;
mod pay_once;
mod refusals;
mod resumed;
mod rpc;
mod rpc_fixtures;
mod secrets;
mod settling;
mod sum_tree;
mod support;
mod vectors;

/// Runs a test of a [`support::Stage`] on both chains, once with direct plans and once with batches
/// that are paid one by one.
macro_rules! on_both_chains_in_both_modes {
    ($($name:ident),+ $(,)?) => {
        crate::on_both_chains!($($name),+);
        mod in_batches_on_memory {
            $(#[tokio::test]
            async fn $name() {
                let stage = crate::support::Stage::memory().await;
                let commit = spillway_pay::CommitChoice::OneByOne;
                super::$name(stage.in_batches(commit)).await;
            })+
        }
        mod in_batches_on_anvil {
            $(#[tokio::test]
            async fn $name() {
                let stage = crate::support::Stage::anvil().await;
                let commit = spillway_pay::CommitChoice::OneByOne;
                super::$name(stage.in_batches(commit)).await;
            })+
        }
    };
}
pub(crate) use on_both_chains_in_both_modes;

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
