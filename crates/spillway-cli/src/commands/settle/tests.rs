use spillway_client::{PeersError, SeedNeeded, Settled, SkipReason, Skipped, WinsFailure};
use spillway_types::{Atto, PaymentId, PeerSecret, RewardAddress, TxHash, Wei};

use super::*;

const TOKEN: u128 = 1_000_000_000_000_000_000;

fn peer() -> PeerKey {
    PeerSecret::from_seed(&[1; 32]).peer()
}

fn report() -> SettleReport {
    let skipped = |draw, reason| Skipped { payment: PaymentId([2; 32]), draw, reason };
    let mut settled = Settled {
        transactions: 1,
        draws: 3,
        tips: Atto(TOKEN / 50),
        prizes: Atto(3 * TOKEN / 2),
        skipped: vec![
            skipped(3, SkipReason::AlreadySettled),
            skipped(4, SkipReason::NoSeed { after: UnixTime(5) }),
            skipped(5, SkipReason::AlreadySettled),
        ],
        ..Settled::default()
    };
    settled.spend.gas_used = 180_000;
    settled.spend.gas_cost = Wei(TOKEN / 1_000);
    settled.spend.tx_hashes = vec![TxHash([3; 32])];
    SettleReport {
        wins: 6,
        settled,
        payees: [
            (RewardAddress([0x11; 20]), Atto(TOKEN)),
            (RewardAddress([0x22; 20]), Atto(TOKEN / 2)),
        ]
        .into(),
        silent: vec![(peer(), WinsFailure::Peer(PeersError::NoPeers))],
        left_out: [("already_settled", 2), ("no_seed", 1)].into(),
        ..SettleReport::default()
    }
}

fn missing(upload_by: u64, seed: Option<Seed>) -> Missing {
    Missing { upload_by: UnixTime(upload_by), seed, needed: None }
}

const UNTIL: u64 = 1_795_260_315;
const DUE: u64 = 1_795_305_600;

fn needed(drand_round: Option<u64>) -> Missing {
    let needed = Some(SeedNeeded { due: UnixTime(DUE), drand_round });
    Missing { needed, ..missing(UNTIL, None) }
}

#[test]
fn everything_that_was_done_is_said() {
    let seeds = [missing(UNTIL, None)];
    let (ones, twos) = ("11".repeat(20), "22".repeat(20));
    let before = format!(
        "Node {} has not told its wins: no peer of the network can be reached.\nLeft out 2 draws: the \
         draw is settled already.\nLeft out 1 draw: the seed after 1970-01-01 00:00:05 UTC (5) is not known \
         yet.\n0x{ones} gets \
         1 tokens.\n0x{twos} gets 0.5 tokens.\n",
        peer()
    );
    assert_eq!(
        text(&report(), &seeds, false),
        format!(
            "The seed of uploads until 2026-11-21 11:25:15 UTC is not known yet.\n{before}Settled 3 \
             draws of 1.5 tokens in 1 transaction: 0.02 tokens of tips for 0.001 coins of gas.\n"
        )
    );
    assert_eq!(
        text(&report(), &seeds, true),
        format!(
            "The seed of uploads until 2026-11-21 11:25:15 UTC is missing.\n{before}Would settle 3 \
             draws of 1.5 tokens: 0.02 tokens of tips for 0.001 coins of gas.\n"
        )
    );
    let known = [missing(UNTIL, Some(Seed([7; 32])))];
    assert_eq!(
        text(&SettleReport::default(), &known, false),
        format!(
            "The seed of uploads until 2026-11-21 11:25:15 UTC is known now: 0x{}. Nodes note what it \
             draws a moment later: run this again then.\nNothing to settle.\n",
            "07".repeat(32)
        )
    );
}

/// Whoever has to get a seed is told which.
#[test]
fn a_missing_seed_is_said_with_its_round() {
    let said = |missing| text(&SettleReport::default(), &[missing], true);
    let of = "The seed of uploads until 2026-11-21 11:25:15 UTC is missing.";
    assert_eq!(
        said(needed(Some(34_167_412))),
        format!(
            "{of} It is the signature of round 34167412 of drand, of 2026-11-22 00:00:00 UTC \
             (1795305600): give it as --seed-proof.\nNothing to settle.\n"
        )
    );
    assert_eq!(
        said(needed(None)),
        format!(
            "{of} It can be posted since 2026-11-22 00:00:00 UTC (1795305600).\nNothing to \
             settle.\n"
        )
    );
    let json = summary(&SettleReport::default(), &[needed(Some(7))], 0, true);
    let json = serde_json::to_value(json).unwrap();
    assert_eq!(json["seeds"][0]["drand_round"], 7);
    assert_eq!(json["seeds"][0]["due"], DUE);
    assert_eq!(json["seeds"][0]["due_utc"], "2026-11-22 00:00:00 UTC");
}

#[test]
fn the_gas_of_seeds_is_counted() {
    let mut report = report();
    report.seed_spend.gas_used = 190_000;
    report.seed_spend.gas_cost = Wei(TOKEN / 500);
    report.seed_spend.tx_hashes = vec![TxHash([4; 32])];
    let said = text(&report, &[], false);
    let line = "Making seeds known took 0.002 coins of gas, in 1 transaction.\n";
    assert!(said.contains(line), "{said}");
    let json = serde_json::to_value(summary(&report, &[], 1, false)).unwrap();
    assert_eq!((&json["gas_used"], &json["seed_gas_used"]), (&370_000.into(), &190_000.into()));
    assert_eq!(json["gas_cost_wei"], (TOKEN / 1_000 + TOKEN / 500).to_string());
    assert_eq!(json["seed_gas_cost_wei"], (TOKEN / 500).to_string());
    assert_eq!(json["tx_hashes"].as_array().unwrap().len(), 2);
}

/// Gas is spent though others were faster, and draws are left out though they are not listed.
#[test]
fn what_was_sent_for_nothing_and_what_is_not_listed_is_said() {
    let mut report = SettleReport::default();
    report.settled.transactions = 1;
    report.settled.spend.gas_cost = Wei(TOKEN / 1_000);
    report.settled.spend.tx_hashes = vec![TxHash([3; 32])];
    let reason = SkipReason::AlreadySettled;
    report.settled.skipped = vec![Skipped { payment: PaymentId([2; 32]), draw: 3, reason }];
    report.left_out = [("already_settled", 1), ("not_recorded", 6_000)].into();
    assert_eq!(
        text(&report, &[], false),
        "Left out 1 draw: the draw is settled already.\nLeft out 6000 draws more.\nSettled nothing in 1 \
         transaction, for 0.001 coins of gas.\n"
    );
}

/// Numbers with their units, as everywhere else.
#[test]
fn what_is_left_out_is_said_with_units() {
    let reasons = [
        (
            SkipReason::ClaimOver { claim_end: UnixTime(UNTIL) },
            "draws could be settled until 2026-11-21 11:25:15 UTC (1795260315)",
        ),
        (
            SkipReason::NotDrawn {
                point: Atto(TOKEN / 2),
                from: Atto(TOKEN),
                sum: Atto(TOKEN / 4),
            },
            "the draw fell on token 0.5 of the batch, the leaf has 0.25 tokens from 1 on",
        ),
        (
            SkipReason::NotWorthIt { tips: Atto(TOKEN / 100), gas_cost: Wei(TOKEN / 1_000) },
            "0.01 tokens of tips are worth less than 0.001 coins of gas",
        ),
        (SkipReason::NoTip, "the draw has no tip"),
    ];
    for (reason, said) in reasons {
        let mut report = SettleReport::default();
        report.settled.skipped = vec![Skipped { payment: PaymentId([2; 32]), draw: 3, reason }];
        let text = text(&report, &[], false);
        assert_eq!(text, format!("Left out 1 draw: {said}.\nNothing to settle.\n"));
        let json = serde_json::to_value(summary(&report, &[], 1, false)).unwrap();
        assert_eq!(json["skipped"][0]["reason"], said);
    }
}

#[test]
fn programs_get_every_draw() {
    let seeds = [missing(UNTIL, Some(Seed([7; 32])))];
    let json = serde_json::to_string(&summary(&report(), &seeds, 6, false)).unwrap();
    let hash = |byte: u8| format!("{byte:02x}").repeat(32);
    let (payment, seed, tx) = (hash(2), hash(7), hash(3));
    let (ones, twos) = ("11".repeat(20), "22".repeat(20));
    let settled = "the draw is settled already";
    assert_eq!(
        json,
        format!(
            r#"{{"dry_run":false,"nodes":6,"wins":6,"draws":3,"transactions":1,"prize_atto":"1500000000000000000","tip_atto":"20000000000000000","payees":[{{"payee":"0x{ones}","amount_atto":"1000000000000000000"}},{{"payee":"0x{twos}","amount_atto":"500000000000000000"}}],"skipped":[{{"payment":"0x{payment}","draw":3,"reason":"{settled}"}},{{"payment":"0x{payment}","draw":4,"reason":"the seed after 1970-01-01 00:00:05 UTC (5) is not known yet"}},{{"payment":"0x{payment}","draw":5,"reason":"{settled}"}}],"left_out":{{"already_settled":2,"no_seed":1}},"silent":[{{"peer":"{}","reason":"no peer of the network can be reached"}}],"seeds":[{{"upload_by":1795260315,"upload_by_utc":"2026-11-21 11:25:15 UTC","seed":"0x{seed}","due":null,"due_utc":null,"drand_round":null}}],"gas_used":180000,"gas_cost_wei":"1000000000000000","seed_gas_used":0,"seed_gas_cost_wei":"0","tx_hashes":["0x{tx}"]}}"#,
            peer()
        )
    );
}

#[test]
fn a_peer_is_asked_once_and_must_be_named() {
    let place = |text: &str| text.parse::<Address>().unwrap();
    let quic = place("/ip4/127.0.0.1/udp/1/quic-v1").with_peer(peer());
    let tcp = place("/ip4/127.0.0.1/tcp/1").with_peer(peer());
    assert_eq!(peers(&[quic, tcp]).unwrap(), [peer()]);
    let failure = peers(&[place("/ip4/127.0.0.1/tcp/1")]).unwrap_err();
    assert_eq!(failure.code, Code::Usage);
    assert_eq!(
        failure.to_string(),
        "the address /ip4/127.0.0.1/tcp/1 does not name its peer; end it with /p2p/ and the peer's id"
    );
}

/// Tries a proof that only the seeds of `takes` take; returns what was tried, and what came of it.
async fn tried(
    wanted: &[u64],
    with_proof: bool,
    takes: &[u64],
) -> (Vec<u64>, Vec<Missing>, Option<Failure>) {
    let mut seeds: Vec<Missing> = wanted.iter().map(|at| missing(*at, None)).collect();
    let mut tried = Vec::new();
    let post = async |upload_by: UnixTime| {
        tried.push(upload_by.0);
        Ok(match upload_by.0 {
            of if takes.contains(&of) => Post::Known { seed: Seed([7; 32]), sent: true },
            // Somebody else was faster.
            1 => Post::Known { seed: Seed([8; 32]), sent: false },
            0 => Post::NotYet,
            666 => return Err(Failure::new(Code::OverCap, "the cap")),
            _ => Post::Refused(Failure::new(Code::Failure, "refused")),
        })
    };
    let failure = post_all(&mut seeds, with_proof, post).await;
    (tried, seeds, failure)
}

/// Whoever has the signature of a round does not know which seed nodes wait for.
#[tokio::test]
async fn a_proof_is_tried_until_a_seed_takes_it() {
    let known = Some(Seed([7; 32]));
    let (asked, seeds, refused) = tried(&[5, 6, 7], true, &[6]).await;
    assert_eq!(
        (asked, seeds),
        (vec![5, 6], vec![missing(5, None), missing(6, known), missing(7, None)])
    );
    assert!(refused.is_none());
    let (asked, seeds, refused) = tried(&[5, 6], true, &[]).await;
    assert_eq!((asked, seeds), (vec![5, 6], vec![missing(5, None), missing(6, None)]));
    assert_eq!(
        refused.unwrap().to_string(),
        "refused; check --seed-proof: the beacon takes that of one round only"
    );
    assert!(tried(&[0], true, &[]).await.2.is_none());
    // A seed that somebody else has made known has not taken it.
    let (asked, seeds, refused) = tried(&[1, 6, 7], true, &[6]).await;
    assert_eq!(asked, [1, 6]);
    assert_eq!(seeds, [missing(1, Some(Seed([8; 32]))), missing(6, known), missing(7, None)]);
    assert!(refused.is_none());
}

/// One old upload, or a node that names many, does not keep the newest seed from being made known.
#[test]
fn a_proof_is_tried_for_the_newest_seed_whatever_else_is_missing() {
    let times = |times: &[u64]| times.iter().copied().map(UnixTime).collect::<Vec<_>>();
    let named = times(&[5, 6, 7, 8, 9, 10]);
    let all = to_post(times(&[4, 6]), &named, true, Some(UnixTime(20)));
    assert_eq!(all, times(&[4, 6, 5, 7, 8, 9, 10, 20]));
    assert_eq!(to_post(times(&[4]), &[], true, Some(UnixTime(4))), times(&[4]));
    assert_eq!(to_post(Vec::new(), &[], true, Some(UnixTime(20))), times(&[20]));
    assert_eq!(to_post(times(&[4]), &named, false, None), times(&[4, 5, 6, 7, 8]));
}

/// Without one all are asked, and a beacon that wants a proof fails nothing.
#[tokio::test]
async fn without_a_proof_every_seed_is_asked_for() {
    let (asked, seeds, refused) = tried(&[5, 0, 6, 7], false, &[5, 7]).await;
    let known = seeds.iter().map(|it| it.seed.is_some()).collect::<Vec<_>>();
    assert_eq!((asked, known), (vec![5, 0, 6, 7], vec![true, false, false, true]));
    assert!(refused.is_none());
    // What was made known before a failure stays said.
    let (asked, seeds, failure) = tried(&[5, 666, 7], false, &[5, 7]).await;
    let known = seeds.iter().map(|it| it.seed.is_some()).collect::<Vec<_>>();
    assert_eq!((asked, known), (vec![5, 666], vec![true, false, false]));
    assert_eq!(failure.unwrap().code, Code::OverCap);
}

#[test]
fn what_the_vault_refuses_is_no_success() {
    let mut report = report();
    let failure = left_open(&report, 2).unwrap_err();
    assert_eq!(failure.code, Code::TryAgain);
    assert_eq!(&*failure.message, "1 of 2 nodes told no wins or not all of them");
    let reason = SkipReason::Refused { reason: Some("BadProof(0)".into()) };
    report.settled.skipped.push(Skipped { payment: PaymentId([2; 32]), draw: 6, reason });
    report.left_out.insert(SkipReason::REFUSED, 1);
    let failure = left_open(&report, 2).unwrap_err();
    assert_eq!((failure.code, &*failure.message), (Code::Failure, "the vault refused 1 draw"));
}
