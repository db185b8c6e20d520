use super::*;

fn candidate(storage: u128, tips: u128, gas_cost: u128) -> Candidate {
    let gas = GasEstimate { cost: Wei(gas_cost), ..GasEstimate::default() };
    Candidate { storage_cost: Atto(storage), tips: Atto(tips), gas }
}

fn input(batch: Result<Candidate, BatchRefused>, rate: Option<u128>) -> ChooseInput {
    ChooseInput {
        choice: ModeChoice::Auto,
        direct: candidate(1_000 * UNIT, 0, 5 * MILLI),
        batch,
        rate: rate.map(|rate| TokenRate(Wei(rate))),
    }
}

const UNIT: u128 = 1_000_000_000_000_000_000;
const MILLI: u128 = UNIT / 1_000;

fn say(input: ChooseInput) -> (PaymentMode, String) {
    let choice = choose(input).unwrap();
    assert_eq!(choice.reason.mode(), choice.mode);
    (choice.mode, choice.reason.to_string())
}

#[test]
fn auto_takes_what_costs_least_with_tips_at_the_rate() {
    // A token is worth a thousandth of a coin, so a tip of 2 tokens is worth 0.002 coins.
    let batch = |tips, gas| Ok(candidate(1_000 * UNIT, tips, gas));
    assert_eq!(
        say(input(batch(2 * UNIT, 900_000 * UNIT / 1_000_000_000), Some(MILLI))),
        (PaymentMode::Batch, "batch: 0.0021 coins less than direct".into())
    );
    assert_eq!(
        say(input(batch(5 * UNIT, MILLI), Some(MILLI))),
        (PaymentMode::Direct, "direct: 0.001 coins less than batch".into())
    );
    assert_eq!(
        say(input(batch(4 * UNIT, MILLI), Some(MILLI))),
        (PaymentMode::Direct, "direct: costs no more than batch".into())
    );
}

#[test]
fn without_a_rate_gas_decides_and_it_is_said() {
    let batch = Ok(candidate(1_000 * UNIT, 100 * UNIT, MILLI));
    assert_eq!(
        say(input(batch, None)),
        (
            PaymentMode::Batch,
            "batch: without a token price only gas is compared, 0.004 coins less than direct; \
             a batch's tips are 100 tokens"
                .into()
        )
    );
    let dear = Ok(candidate(1_000 * UNIT, 0, 6 * MILLI));
    let (mode, text) = say(input(dear, None));
    assert_eq!(mode, PaymentMode::Direct);
    assert!(
        text.starts_with("direct: without a token price only gas is compared, 0.001"),
        "{text}"
    );
}

#[test]
fn a_batch_that_cannot_be_is_said_or_an_error() {
    let refused = BatchRefused::PrizeTooSmall { prize: Atto(UNIT / 2), least: Atto(UNIT) };
    assert_eq!(
        say(input(Err(refused), Some(MILLI))),
        (
            PaymentMode::Direct,
            "direct: a batch is too small to be worth settling: a prize of 0.5 tokens, at least 1"
                .into()
        )
    );
    let asked = ChooseInput { choice: ModeChoice::Batch, ..input(Err(refused), None) };
    assert_eq!(choose(asked), Err(PlanError::NoBatch(refused)));
    let direct = ChooseInput { choice: ModeChoice::Direct, ..asked };
    assert_eq!(say(direct), (PaymentMode::Direct, "direct: as asked for".into()));
}

#[test]
fn what_was_asked_for_is_done_whatever_it_costs() {
    let dear = Ok(candidate(1_000 * UNIT, 100 * UNIT, UNIT));
    let asked = ChooseInput { choice: ModeChoice::Batch, ..input(dear, Some(MILLI)) };
    assert_eq!(say(asked), (PaymentMode::Batch, "batch: as asked for".into()));
}

#[test]
fn reasons_survive_being_written_down() {
    let refused = BatchRefused::PrizeTooLarge { prize: Atto(u128::MAX), most: Atto(1) };
    for reason in [
        ModeReason::Asked { mode: PaymentMode::Batch },
        ModeReason::Cheaper { mode: PaymentMode::Direct, saved: Wei(u128::MAX) },
        ModeReason::CheaperGas { mode: PaymentMode::Batch, saved: Wei(1), tips: Atto(2) },
        ModeReason::NoBatch(refused),
    ] {
        let text = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<ModeReason>(&text).unwrap(), reason);
    }
}

#[test]
fn two_payments_are_what_both_are_or_mixed() {
    use PaymentMode::{Batch, Direct, Mixed};
    for mode in [Direct, Batch, Mixed] {
        assert_eq!(mode.and(mode), mode);
    }
    for (one, other) in [(Direct, Batch), (Batch, Direct), (Mixed, Direct), (Batch, Mixed)] {
        assert_eq!(one.and(other), Mixed);
    }
}
