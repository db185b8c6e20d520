use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;
use spillway_client::RealDisk;
use spillway_node::read_wins;
use spillway_types::{Atto, BatchTerms, Domain, DrawSet, RewardAddress, UnixTime, Win};

use super::{Context, summary::only_report};
use crate::{
    args::NodeWins,
    config::{Layer, Settings, account},
    exit::{Code, Failure},
    render::{Report, amount, count, utc},
};

/// The summary of `node wins`. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
struct Summary {
    wins: Vec<Won>,
    prize_atto: String,
    /// What of that goes to the account that was named.
    own_atto: Option<String>,
}

/// One draw.
#[derive(Debug, Serialize)]
struct Won {
    /// Known where chain and vault are.
    payment: Option<String>,
    draw: u8,
    chunk: String,
    prize_atto: String,
    own_atto: Option<String>,
    tip_atto: String,
    upload_by: u64,
    /// Until when it can be settled, in Unix time and for people; known with `--chain`.
    claim_end: Option<u64>,
    claim_end_utc: Option<String>,
}

/// What the chain says of one batch.
#[derive(Clone, Copy, Debug)]
struct State {
    settled: DrawSet,
    claim_end: UnixTime,
}

/// What is known beside the wins themselves.
#[derive(Debug, Default)]
struct Known {
    domain: Option<Domain>,
    reward: Option<RewardAddress>,
    /// By the batch; nothing without `--chain`.
    states: BTreeMap<BatchTerms, State>,
}

/// `node wins`: from the node's directory, which stays as it is.
pub(super) async fn run(context: &Context, args: &NodeWins) -> Result<(), Failure> {
    let reward = args.reward_address.as_deref();
    let reward = reward.map(|text| account("--reward-address", text)).transpose()?;
    let settings = context.settings(Layer::from(args))?;
    let mut known = Known {
        domain: settings.domain_if_any()?,
        reward: reward.map(RewardAddress),
        states: BTreeMap::new(),
    };
    let mut wins = noted(settings.node_dir()?).await?;
    if args.chain {
        ask(context, &settings, &wins, &mut known).await?;
        wins.retain(|win| !known.is_settled(win));
    }
    context.console.summary(&known.summary(&wins), &only_report(known.text(&wins)))
}

/// The wins that a node has noted in its directory.
pub(super) async fn noted(dir: PathBuf) -> Result<Vec<Win>, Failure> {
    let disk = RealDisk::open(&dir)?;
    let reading = tokio::task::spawn_blocking(move || read_wins(&disk));
    let read = reading.await.map_err(|error| {
        Failure::new(Code::Failure, format!("cannot read the node's directory: {error}"))
    })?;
    Ok(read?)
}

/// Asks the chain once for each batch.
async fn ask(
    context: &Context,
    settings: &Settings,
    wins: &[Win],
    known: &mut Known,
) -> Result<(), Failure> {
    let payments = context.chain(settings).await?;
    known.domain = Some(*payments.domain());
    for win in wins {
        if known.states.contains_key(&win.terms) {
            continue;
        }
        let state = context.until_stopped(payments.batch_state(&win.terms)).await?;
        let state = State { settled: state.settled, claim_end: state.claim_end };
        known.states.insert(win.terms, state);
    }
    Ok(())
}

impl Known {
    fn is_settled(&self, win: &Win) -> bool {
        self.states.get(&win.terms).is_some_and(|state| state.settled.contains(win.draw))
    }

    /// What of a win goes to the account that was named.
    fn own(&self, win: &Win) -> Option<Atto> {
        let reward = self.reward?;
        let own = win.payouts().into_iter().filter(|share| share.payee == reward);
        Some(own.map(|share| share.amount).sum())
    }

    fn payment(&self, win: &Win) -> Option<String> {
        self.domain.as_ref().map(|domain| win.terms.id(domain).to_string())
    }

    fn claim_end(&self, win: &Win) -> Option<UnixTime> {
        self.states.get(&win.terms).map(|state| state.claim_end)
    }

    fn summary(&self, wins: &[Win]) -> Summary {
        Summary {
            wins: wins.iter().map(|win| self.won(win)).collect(),
            prize_atto: prizes(wins).to_string(),
            own_atto: self.own_sum(wins).map(|own| own.to_string()),
        }
    }

    fn own_sum(&self, wins: &[Win]) -> Option<Atto> {
        self.reward?;
        Some(wins.iter().filter_map(|win| self.own(win)).sum())
    }

    fn won(&self, win: &Win) -> Won {
        let claim_end = self.claim_end(win);
        Won {
            payment: self.payment(win),
            draw: win.draw,
            chunk: win.leaf.address.to_string(),
            prize_atto: win.terms.prize(win.draw).to_string(),
            own_atto: self.own(win).map(|own| own.to_string()),
            tip_atto: win.terms.tip.to_string(),
            upload_by: win.terms.upload_by.as_secs(),
            claim_end: claim_end.map(UnixTime::as_secs),
            claim_end_utc: claim_end.map(utc),
        }
    }

    fn text(&self, wins: &[Win]) -> String {
        if wins.is_empty() {
            return "No draws are won.\n".to_owned();
        }
        let mut text = Report::default();
        for win in wins {
            text.line(self.line(win));
        }
        text.line(format_args!(
            "{} of {} tokens{}. `spillway settle` pays them out.",
            count(wins.len() as u64, "draw"),
            amount(prizes(wins).get()),
            of_them(self.own_sum(wins)),
        ));
        text.text()
    }

    fn line(&self, win: &Win) -> String {
        let batch = self.payment(win).map(|payment| format!(" of batch {payment}"));
        let until = self.claim_end(win);
        let until = until.map(|end| format!(", to be settled until {} ({end})", utc(end)));
        format!(
            "Draw {}{}: chunk {} won {} tokens{}{}",
            win.draw,
            batch.unwrap_or_default(),
            win.leaf.address,
            amount(win.terms.prize(win.draw).get()),
            of_them(self.own(win)),
            until.unwrap_or_default(),
        )
    }
}

fn prizes(wins: &[Win]) -> Atto {
    wins.iter().map(|win| win.terms.prize(win.draw)).sum()
}

fn of_them(own: Option<Atto>) -> String {
    own.map(|own| format!(", {} of them for this account", amount(own.get()))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use spillway_types::{ChunkAddress, EvmAddress, Leaf, NetworkId, NodeHash, Share};

    use super::*;

    const OWN: RewardAddress = RewardAddress([5; 20]);

    fn win(draw: u8) -> Win {
        let share = |payee| Share { payee: RewardAddress([payee; 20]), amount: Atto(1) };
        Win {
            terms: BatchTerms {
                payer: EvmAddress([1; 20]),
                root: NodeHash([2; 32]),
                total: Atto(1_000_000_000_000_000_000),
                tip: Atto(10),
                upload_by: UnixTime(1_795_260_315),
                draws: 2,
            },
            draw,
            leaf: Leaf {
                address: ChunkAddress([0xab; 32]),
                shares: [share(1), share(2), share(3), share(5), share(5)],
            },
            siblings: Vec::new(),
        }
    }

    #[test]
    fn wins_are_said_as_far_as_they_are_known() {
        let chunk = "ab".repeat(32);
        assert_eq!(Known::default().text(&[]), "No draws are won.\n");
        assert_eq!(
            Known::default().text(&[win(0)]),
            format!(
                "Draw 0: chunk {chunk} won 0.5 tokens\n1 draw of 0.5 tokens. `spillway settle` \
                 pays them out.\n"
            )
        );
        let domain =
            Domain { network: NetworkId([0; 32]), chain_id: 1, vault: EvmAddress([9; 20]) };
        let mut settled = DrawSet::default();
        settled.insert(1);
        let state = State { settled, claim_end: UnixTime(1_797_852_315) };
        let known = Known {
            domain: Some(domain),
            reward: Some(OWN),
            states: BTreeMap::from([(win(0).terms, state)]),
        };
        assert!(known.is_settled(&win(1)) && !known.is_settled(&win(0)));
        let payment = win(0).terms.id(&domain);
        assert_eq!(
            known.text(&[win(0)]),
            format!(
                "Draw 0 of batch {payment}: chunk {chunk} won 0.5 tokens, 0.2 of them for this \
                 account, to be settled until 2026-12-21 11:25:15 UTC (1797852315)\n1 draw of 0.5 \
                 tokens, 0.2 of them for this account. `spillway settle` pays them out.\n"
            )
        );
        assert_eq!(
            serde_json::to_string(&known.summary(&[win(0)])).unwrap(),
            format!(
                r#"{{"wins":[{{"payment":"{payment}","draw":0,"chunk":"{chunk}","prize_atto":"500000000000000000","own_atto":"200000000000000000","tip_atto":"10","upload_by":1795260315,"claim_end":1797852315,"claim_end_utc":"2026-12-21 11:25:15 UTC"}}],"prize_atto":"500000000000000000","own_atto":"200000000000000000"}}"#
            )
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let json = serde_json::to_string(&Known::default().summary(&[win(1)])).unwrap();
        assert!(json.starts_with(r#"{"wins":[{"payment":null,"draw":1,"#), "{json}");
        assert!(json.contains(r#""claim_end":null,"claim_end_utc":null}],"#), "{json}");
        assert!(json.ends_with(r#""own_atto":null}"#), "{json}");
    }
}
