//! A chain and an RPC server that do what chains and RPC servers do.

use anyhow::{Result, bail};
use fastrand::Rng;
use serde_json::{Value, json};
use spillway_types::EvmAddress;

use super::{Done, Scene, USUAL_SEGMENTS};
use crate::{
    cycle::Cycle,
    found::Found,
    program::{Ran, Running},
    proxy::{Answer, Proxy, Rule, SEND, Step},
};

/// Blocks between an account's money and its upload, so that a server that lags has seen the money.
const FILLER_BLOCKS: u64 = 8;

/// The deepest reorganisation; so many more blocks are mined before.
const DEEPEST: u64 = 64;

/// Requests of which one is hit, counted from the first: an upload makes more.
const REQUESTS: std::ops::RangeInclusive<u64> = 1..=30;

/// Everything is done, or the RPC is said to be out of reach.
const TRY_AGAIN: &[i32] = &[0, 5];

/// The same, or some chunks are left to the resume: nodes have refused all along what the chain has taken
/// back, since a run does not send a payment again that it has seen mined; or servers were behind for
/// longer than a run waits for a call that they say would fail (30 s).
const LEFT_OVER: &[i32] = &[0, 3, 5];

/// The base fee of a busy chain, in wei: 50 gwei.
const BUSY: &str = "0xba43b7400";

/// What is done in one cycle.
struct Trouble {
    name: &'static str,
    rules: Vec<Rule>,
    /// Kill the upload when a [`Step::Strike`] is reached, do this, and go on.
    then: Option<Vec<(&'static str, Value)>>,
    /// Exit codes of the first run, when it is not killed.
    codes: &'static [i32],
    may_be_unpaid: bool,
    /// Whether blocks are taken back.
    is_deep: bool,
}

/// The kinds, in the order in which they take turns.
const KINDS: [fn(EvmAddress, &mut Rng) -> Trouble; 14] = [
    |_, random| lost("one reply to a sent transaction lost", (Some(SEND), random.u64(1..=2), 1)),
    |_, random| lost("ten replies to sent transactions lost", (Some(SEND), random.u64(1..=2), 10)),
    |_, random| lost("one reply lost", (None, random.u64(REQUESTS), 1)),
    |_, random| {
        let answer = Answer::Status([429, 502][random.usize(..2)]);
        refused("too many requests", answer, random)
    },
    |_, random| refused("connections reset", Answer::Reset, random),
    |_, random| lagging(random),
    |_, random| wrong_chain(random),
    |_, random| dropped_and_killed(random),
    |_, random| dropped(random),
    |payer, random| nonce_used(payer, random),
    |payer, _| nonce_gap(payer),
    |_, random| stuck_fee(random),
    |_, random| reorg_and_kill(random),
    |_, random| reorg(random),
];

pub(super) async fn cycle(scene: &Scene<'_>) -> Result<Done> {
    let mut cycle = scene.cycle(USUAL_SEGMENTS).await?;
    let turn = usize::try_from(scene.task.index / 2)?;
    let trouble = KINDS[turn % KINDS.len()](cycle.payer, &mut cycle.random);
    let name = trouble.name;
    let done = play(scene, cycle, trouble).await;
    done.map(|done| Done { what: name, ..done }).map_err(|error| error.context(name))
}

async fn play(scene: &Scene<'_>, mut cycle: Cycle<'_>, trouble: Trouble) -> Result<Done> {
    let deep = if trouble.is_deep { DEEPEST } else { 0 };
    scene.world.mine(FILLER_BLOCKS + deep).await?;
    let proxy = Proxy::new(scene.world.rpc.clone(), trouble.rules).await?;
    cycle.rpc_url = Some(proxy.url()?);
    cycle.may_be_unpaid = trouble.may_be_unpaid;
    let story = async {
        let (ran, killed) = first_run(&cycle, &proxy, trouble.then.is_some()).await?;
        for (method, params) in trouble.then.into_iter().flatten() {
            scene.world.rpc.ask(method, params).await?;
        }
        let missed = proxy.hits() == 0;
        proxy.behave();
        match ran.code {
            Some(0) => {
                cycle.check(&ran).await?;
                return Ok::<_, anyhow::Error>(Done { resumes: 0, missed, ..Done::default() });
            }
            None if killed => {}
            Some(code) if trouble.codes.contains(&code) => {}
            _ => return Err(Found::Exit(ran.said()).into()),
        }
        cycle.finish().await?;
        Ok(Done { resumes: 1, missed, ..Done::default() })
    };
    let done = tokio::select! {
        done = story => done?,
        served = proxy.serve() => { served?; bail!("the proxy has ended") }
    };
    scene.world.mine_at_once().await?;
    Ok(done)
}

async fn first_run(cycle: &Cycle<'_>, proxy: &Proxy, to_be_killed: bool) -> Result<(Ran, bool)> {
    let mut running = Running::start(cycle.upload())?;
    let mut killed = false;
    if to_be_killed {
        tokio::select! {
            ended = running.wait_for(|_| false) => { ended?; }
            () = proxy.struck() => { running.kill(); killed = true; }
        }
    }
    Ok((running.end().await?, killed))
}

fn trouble(name: &'static str, rules: Vec<Rule>) -> Trouble {
    Trouble { name, rules, then: None, codes: TRY_AGAIN, may_be_unpaid: false, is_deep: false }
}

fn lost(name: &'static str, (method, from, count): (Option<&'static str>, u64, u64)) -> Trouble {
    trouble(name, vec![Rule::new(method, from, count, Answer::Lost)])
}

fn refused(name: &'static str, answer: Answer, random: &mut Rng) -> Trouble {
    trouble(name, vec![Rule::new(None, random.u64(REQUESTS), random.u64(1..=10), answer)])
}

/// Every second answer or so comes from a server that is some blocks behind.
fn lagging(random: &mut Rng) -> Trouble {
    let rule = |from| Rule::new(None, from, 1, Answer::Lagging(random.u64(1..=4)));
    let mut at = 0;
    let mut random_step = Rng::with_seed(7);
    let mut next = || {
        at += random_step.u64(1..=3);
        at
    };
    let from: Vec<u64> = (0..200).map(|_| next()).collect();
    let rules = from.into_iter().map(rule).collect();
    Trouble { codes: LEFT_OVER, ..trouble("a replica that lags", rules) }
}

/// Another chain answers, from the first or the second question on.
fn wrong_chain(random: &mut Rng) -> Trouble {
    let says = Answer::Says("0x1".into());
    let rules = vec![Rule::new(Some("eth_chainId"), random.u64(1..=2), u64::MAX, says)];
    Trouble { codes: &[0, 1], ..trouble("another chain's id", rules) }
}

fn automine(on: bool) -> Step {
    Step::Call("evm_setAutomine", json!([on]))
}

/// A transaction is taken and forgotten, and its sender dies.
fn dropped_and_killed(random: &mut Rng) -> Trouble {
    let rule = Rule {
        before: vec![automine(false)],
        after: vec![Step::DropSent, Step::Strike],
        ..Rule::new(Some(SEND), random.u64(1..=2), 1, Answer::Honest)
    };
    let then = Some(vec![("evm_setAutomine", json!([true]))]);
    Trouble { then, ..trouble("a transaction dropped, its sender killed", vec![rule]) }
}

/// A transaction is taken and forgotten, and its sender waits for it.
fn dropped(random: &mut Rng) -> Trouble {
    let rule = Rule {
        before: vec![automine(false)],
        after: vec![Step::DropSent, automine(true)],
        ..Rule::new(Some(SEND), random.u64(1..=2), 1, Answer::Honest)
    };
    trouble("a transaction dropped", vec![rule])
}

/// Another program with the same key sends something.
fn foreign(payer: EvmAddress) -> Vec<Step> {
    let payer = payer.to_string();
    vec![
        Step::Call("anvil_impersonateAccount", json!([payer])),
        Step::Call("eth_sendTransaction", json!([{"from": payer, "to": payer, "value": "0x1"}])),
        Step::Call("anvil_stopImpersonatingAccount", json!([payer])),
    ]
}

/// Another program uses the nonce between signing and sending.
fn nonce_used(payer: EvmAddress, random: &mut Rng) -> Trouble {
    let mut before = foreign(payer);
    before.push(Step::Call("evm_mine", json!([])));
    let rule = Rule { before, ..Rule::new(Some(SEND), random.u64(1..=2), 1, Answer::Honest) };
    trouble("a nonce used by another program", vec![rule])
}

/// Another program's transaction waits when ours is signed, and is gone when ours is sent.
fn nonce_gap(payer: EvmAddress) -> Trouble {
    let mut before = vec![automine(false)];
    before.extend(foreign(payer));
    let signing = Rule::new(Some("eth_getTransactionCount"), 1, 1, Answer::Honest);
    let gone = Step::Call("anvil_removePoolTransactions", json!([payer.to_string()]));
    let sending =
        Rule { before: vec![gone, automine(true)], ..Rule::new(Some(SEND), 1, 1, Answer::Honest) };
    trouble("a nonce that nobody uses", vec![Rule { before, ..signing }, sending])
}

/// Fees rise after signing: what was sent is not mined, and its sender dies.
fn stuck_fee(random: &mut Rng) -> Trouble {
    let rule = Rule {
        before: vec![automine(false)],
        after: vec![Step::DropSent, Step::Strike],
        ..Rule::new(Some(SEND), random.u64(1..=2), 1, Answer::Honest)
    };
    let then = vec![
        ("anvil_setNextBlockBaseFeePerGas", json!([BUSY])),
        ("evm_mine", json!([])),
        ("evm_setAutomine", json!([true])),
    ];
    Trouble { then: Some(then), ..trouble("a fee that does not do any more", vec![rule]) }
}

/// The payment is mined, its sender dies, and the newest blocks are taken back.
fn reorg_and_kill(random: &mut Rng) -> Trouble {
    let rule = Rule {
        after: vec![Step::WaitMined, Step::Strike],
        ..Rule::new(Some(SEND), random.u64(1..=2), 1, Answer::Honest)
    };
    let then = Some(vec![("anvil_reorg", json!([random.u64(1..=DEEPEST), []]))]);
    Trouble { then, is_deep: true, ..trouble("a reorganisation while nobody looks", vec![rule]) }
}

/// The newest blocks are taken back while the sender looks, perhaps after nodes have seen the
/// payment: they wait for no confirmations here, so they may be left unpaid.
fn reorg(random: &mut Rng) -> Trouble {
    let depth = random.u64(1..=DEEPEST);
    let rule = Rule {
        after_sends: random.u64(1..=2),
        before: vec![Step::WaitMined, Step::Call("anvil_reorg", json!([depth, []]))],
        ..Rule::new(None, random.u64(1..=8), 1, Answer::Honest)
    };
    let name = "a reorganisation while the sender looks";
    let codes = LEFT_OVER;
    Trouble { codes, may_be_unpaid: true, is_deep: true, ..trouble(name, vec![rule]) }
}
