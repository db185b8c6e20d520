use std::sync::Arc;

use serde::Serialize;
use spillway_client::{Address, ChainOptions, RealDisk, connect_chain};
use spillway_node::{Node, NodeOptions};
use spillway_types::RewardAddress;

use super::{Context, wins};
use crate::{
    args::{NodeCommand, NodeRun},
    config::{Layer, account, peer_address},
    exit::Failure,
    render::{Text, bytes},
};

/// Printed when the node answers.
#[derive(Debug, Serialize)]
struct Ready {
    peer: String,
    addresses: Vec<String>,
    reward_address: String,
    capacity_bytes: u64,
    chunks: usize,
}

/// `node`.
pub(super) async fn run(context: &Context, command: &NodeCommand) -> Result<(), Failure> {
    match command {
        NodeCommand::Run(args) => run_node(context, args).await,
        NodeCommand::Wins(args) => Box::pin(wins::run(context, args)).await,
    }
}

/// `node run`: until SIGINT or SIGTERM, then it finishes what is under way.
async fn run_node(context: &Context, args: &NodeRun) -> Result<(), Failure> {
    let options = options(context, args).await?;
    let node = context.until_stopped(Box::pin(Node::start(options))).await?;
    let said = context.console.summary(&ready(&node, args), &text(&node, args));
    if said.is_ok() {
        serve(context, &node).await;
    }
    node.shutdown().await;
    said
}

/// Waits to be stopped. A network that is not found is said and looked for on.
async fn serve(context: &Context, node: &Node) {
    tokio::select! {
        () = context.stop.cancelled() => return,
        found = node.bootstrapped() => match found {
            Ok(()) => tracing::info!("the network is found"),
            Err(error) => {
                let failure = Failure::from(error);
                tracing::warn!("{failure}; looking on");
            }
        },
    }
    context.stop.cancelled().await;
}

async fn options(context: &Context, args: &NodeRun) -> Result<NodeOptions, Failure> {
    let reward = RewardAddress(account("--reward-address", &args.reward_address)?);
    let listen = addresses("--listen", &args.listen)?;
    let external = addresses("--external-address", &args.external_address)?;
    let settings = context.settings(Layer::from(args))?;
    let bootstrap = settings.bootstrap_if_any()?;
    let dir = settings.node_dir()?;
    let chain = ChainOptions {
        // A node holds no wallet, so nothing is locked there.
        state_dir: dir.clone(),
        network: settings.network(),
        rpc_url: settings.rpc_url()?,
        chain_id: settings.chain_id(),
        vault: settings.vault()?,
    };
    let payments = context.until_stopped(Box::pin(connect_chain(chain))).await?;
    let disk = Arc::new(RealDisk::create(&dir)?);
    let chain = Arc::clone(payments.chain());
    Ok(NodeOptions {
        capacity_bytes: args.capacity,
        confirmations: args.confirmations,
        token_rate: settings.token_rate(),
        max_prize: args.max_prize,
        listen,
        external,
        bootstrap,
        ..NodeOptions::new(disk, chain, *payments.domain(), reward)
    })
}

fn addresses(flag: &str, texts: &[String]) -> Result<Vec<Address>, Failure> {
    texts.iter().map(|text| peer_address(flag, text)).collect()
}

fn ready(node: &Node, args: &NodeRun) -> Ready {
    Ready {
        peer: node.peer().to_string(),
        addresses: node.addresses().iter().map(ToString::to_string).collect(),
        reward_address: args.reward_address.clone(),
        capacity_bytes: args.capacity,
        chunks: node.chunks(),
    }
}

fn text(node: &Node, args: &NodeRun) -> Text {
    let mut report = format!(
        "The node runs, keeps {} chunks, and stores up to {}. It is reached at:\n",
        node.chunks(),
        bytes(args.capacity)
    );
    for address in node.addresses() {
        report.push_str(&address.to_string());
        report.push('\n');
    }
    report.push_str("Ctrl-C ends it.\n");
    Text { report, result: String::new() }
}
