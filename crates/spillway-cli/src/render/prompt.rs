use std::io::{self, Write};

use async_trait::async_trait;
use indicatif::MultiProgress;
use spillway_client::{Approve, Offer};
use tokio_util::sync::CancellationToken;

use super::{Console, amount, count, one_line, paid_as};

/// Asks the person at the terminal.
#[derive(Debug)]
pub(crate) struct Prompt {
    /// Where bars are drawn.
    pub(crate) console: Console,
    /// Ends the waiting.
    pub(crate) stop: CancellationToken,
    /// What it is for, where the command does not say it.
    pub(crate) of: Option<String>,
}

/// Where nobody can be asked: what costs nothing goes on, and nothing is paid.
#[derive(Debug)]
pub(crate) struct Nobody;

#[async_trait]
impl Approve for Nobody {
    async fn approve(&self, offer: &Offer) -> bool {
        offer.chunks_to_pay == 0
    }
}

#[async_trait]
impl Approve for Prompt {
    async fn approve(&self, offer: &Offer) -> bool {
        if offer.chunks_to_pay == 0 {
            return true;
        }
        let question = question(offer, self.of.as_deref());
        let bars = self.console.bars().clone();
        // The thread may wait for ever: when the program ends it does not wait for it.
        let answer = tokio::task::spawn_blocking(move || ask(&bars, &question));
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            answer = answer => matches!(answer, Ok(Ok(true))),
        }
    }
}

fn question(offer: &Offer, of: Option<&str>) -> String {
    let of = of.map(|of| format!("{}. ", one_line(of))).unwrap_or_default();
    let tips = match offer.tips.get() {
        0 => String::new(),
        tips => format!(", {} tokens for tips ({tips} atto)", amount(tips)),
    };
    let paid_as = paid_as(offer.mode, offer.reason.as_ref());
    let paid_as = paid_as.map(|text| format!("{text}. ")).unwrap_or_default();
    let later = match offer.chunks_later {
        0 => String::new(),
        later => format!(" ({later} more are priced and asked for later)"),
    };
    format!(
        "{of}Storing {}{later} costs {} tokens ({} atto){tips}, and about {} coins for gas ({} wei). \
         {paid_as}Pay? [y/N] ",
        count(offer.chunks_to_pay, "chunk"),
        amount(offer.storage_cost.get()),
        offer.storage_cost,
        amount(offer.gas_cost.get()),
        offer.gas_cost,
    )
}

/// Holds neither terminal nor bars while it waits: what is said at Ctrl-C must get through.
fn ask(bars: &MultiProgress, question: &str) -> io::Result<bool> {
    // Not suspended: bars drawn again would stand behind the question.
    bars.clear()?;
    let mut terminal = io::stderr().lock();
    terminal.write_all(question.as_bytes())?;
    terminal.flush()?;
    drop(terminal);
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use spillway_client::{ModeReason, PaymentMode};
    use spillway_types::{Atto, Wei};

    use super::*;

    fn offer() -> Offer {
        Offer {
            mode: Some(PaymentMode::Direct),
            reason: Some(ModeReason::Asked { mode: PaymentMode::Direct }),
            storage_cost: Atto(2_500_000_000_000_000_001),
            tips: Atto::ZERO,
            gas: 1,
            gas_cost: Wei(1_000_000_000_000_000),
            chunks_to_pay: 1,
            chunks_later: 0,
            chunks_already_stored: 0,
        }
    }

    #[test]
    fn the_price_is_exact() {
        assert_eq!(
            question(&offer(), None),
            "Storing 1 chunk costs 2.500000000000000001 tokens (2500000000000000001 atto), and \
             about 0.001 coins for gas (1000000000000000 wei). Payment as direct: as asked for. \
             Pay? [y/N] "
        );
    }

    #[test]
    fn tips_and_the_reason_are_part_of_the_price() {
        let saved = Wei(500_000_000_000_000_000);
        let batch = Offer {
            mode: Some(PaymentMode::Batch),
            reason: Some(ModeReason::Cheaper { mode: PaymentMode::Batch, saved }),
            tips: Atto(20_000_000_000_000_000),
            chunks_to_pay: 300,
            ..offer()
        };
        assert_eq!(
            question(&batch, None),
            "Storing 300 chunks costs 2.500000000000000001 tokens (2500000000000000001 atto), \
             0.02 tokens for tips (20000000000000000 atto), and about 0.001 coins for gas \
             (1000000000000000 wei). Payment as batch: 0.5 coins less than direct. Pay? [y/N] "
        );
    }

    #[test]
    fn a_round_says_that_there_are_more() {
        let round = Offer { chunks_to_pay: 4_096, chunks_later: 904, ..offer() };
        let said = question(&round, None);
        let of = "Storing 4096 chunks (904 more are priced and asked for later) costs 2.5";
        assert!(said.starts_with(of), "{said}");
    }

    #[test]
    fn the_question_says_for_which_upload() {
        let said = question(&offer(), Some("Session a1, of movie\x1b.mkv"));
        assert!(said.starts_with("Session a1, of movie\u{fffd}.mkv. Storing 1 chunk"), "{said}");
    }

    #[tokio::test]
    async fn nobody_pays_and_goes_on_with_what_is_paid() {
        assert!(!Nobody.approve(&offer()).await);
        assert!(Nobody.approve(&Offer { chunks_to_pay: 0, ..offer() }).await);
    }

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("Y\n") && is_yes(" yes "));
        assert!(!is_yes("\n") && !is_yes("no") && !is_yes("yep"));
    }
}
