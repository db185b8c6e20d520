use std::fmt::{Display, Write as _};

use super::checks::{MOST_Z, correlated};
use super::sweep::float;
use super::{ClientResult, Conduct, NodeResult, Pay, Statistics};

const INTRODUCTION: &str = "\
# What draws pay

In batch mode only the leaves that are drawn are paid, and a draw pays its leaf a whole prize. Whether \
that comes to what every leaf was to get is not a matter of belief. This page is the output of a program, \
byte for byte: `cargo xtask bench statistics` prints it, `cargo xtask bench statistics --write` writes it, \
and a test compares it with what the code gives now. Who changes how draws fall, how trees are built or \
how prizes are cut sees that test fail.
";

const METHOD: &str = "\
## How

The program uses the product's own functions: the planner, the tree (`SumTree`), the strict check that says which \
points of the total a leaf covers (`verify::batch_leaf`), the terms with their \
id, prizes and points (`BatchTerms`), what a win pays each share (`Win`), the XOR distance of peers.

- **Nodes** have random keys, prices between 1 and 20, and one of three kinds of conduct: about half are \
reliable, a quarter refuse every second chunk, a quarter lose every second chunk with its proof before \
the draw.
- **Uploads** are batches of 16 to 4,096 leaves, one draw for 256 leaves or a part of them. A leaf lists \
the five nodes nearest to a random chunk, at their prices or up to a quarter more. The client is of one \
of seven kinds, see below; 6 of 10 are honest. A tip is about what one node asks for one chunk.
- **Claimed** is a drawn leaf when at least one of its five nodes has chunk and proof, because anybody \
may settle for all five; a leaf that pays the client alone is settled by the client. Every other draw \
goes back to the client, with its tip.
- **Owed** is what an account's shares in claimed leaves add up to. The claim is that this is the mean \
of what it is paid.

Three tests, from the strictest on:

1. *Point by point.* Small batches, every point of the total: for each point a seed is looked for whose \
first draw falls on it, and the product is run from the seed to the leaf. No statistics are needed.
2. *All seeds at once.* A seed decides nothing but where the first draw falls (checked); the others follow \
at fixed steps. So what an account gets is a function of one point, and the program adds it up over all \
points of every batch: the exact mean and the exact variance of every account.
3. *Random seeds.* Every batch is drawn many times, each time with another seed. What an account is paid \
in all is compared with what it is owed, in standard deviations (z) of the exact variance. ";

const LIMITS: &str = "\
## What this does not show

- **That a node keeps what it is paid for.** Pay follows the list in the leaf as long as one of the five \
claims it: see the nodes above that refuse or lose half. Audits are not there yet.
- **That pay is even.** It is exact in expectation only. Who holds few chunks plays a lottery; the table \
of unevenness says how wild. A node's price has to carry that, or a node has to be patient.
- **That somebody settles.** All draws that can be claimed are claimed here. In the field that takes \
somebody with a little gas in the 30 days of the claim window; tips are to pay for it.
- **That the seed is honest.** Seeds are random here. Who knows the seed before the upload window ends, \
or chooses it, beats every draw; that is the beacon's to prevent, and drand's threshold to keep.
- **That a client cannot lead nodes astray before the draw.** Nodes accept chunks only until `uploadBy`, \
and the seed becomes public later; that rule is tested with the nodes, not here.
- **Several identities.** A client whose own peers are among the five nearest is paid a part of its own \
money back. It pays less to others and stores with fewer others; the draw cannot tell.
- **Gas.** Each row would be worse for the client by the gas of its transactions: see `cargo xtask bench gas`.
";

pub(super) fn page(statistics: &Statistics) -> String {
    let mut page = String::from(INTRODUCTION);
    heading(&mut page, "Results");
    table(&mut page, &["what", "holds", "found"]);
    for check in statistics.checks() {
        row(&mut page, &[&check.name, &if check.passed { "yes" } else { "**no**" }, &check.found]);
    }
    page.push('\n');
    page.push_str(METHOD);
    let options = statistics.options;
    line(
        &mut page,
        format_args!(
            "All tests together have a level of 1 %: one interval is ±{MOST_Z} standard deviations, \
             as 200 tests of 0.005 % need it.\n\nThis run: seed {}, {} nodes, {} batches with {} \
             leaves, {} rounds of draws with {} wins.",
            options.seed,
            options.nodes,
            options.uploads,
            statistics.leaves,
            options.rounds,
            statistics.wins
        ),
    );
    points(&mut page, statistics);
    nodes(&mut page, statistics);
    groups(&mut page, statistics);
    clients(&mut page, statistics);
    unevenness(&mut page, statistics);
    page.push('\n');
    page.push_str(LIMITS);
    page
}

fn points(page: &mut String, statistics: &Statistics) {
    heading(page, "Point by point");
    line(
        page,
        "In each of these every draw hits every leaf at exactly `sum` of the `total` points. The last \
         column is the most that the mean pay of a share differs from the share, in the token's \
         smallest unit: the shares of a leaf are rounded down and the last gets the rest. Real prices \
         are billions of units and more.\n",
    );
    table(page, &["batch", "leaves", "total", "draws", "exact", "rounding"]);
    for case in &statistics.enumerated {
        let exact = if case.exact { "yes" } else { "**no**" };
        let off = format!("{:.3}", case.most_off);
        row(page, &[&case.name, &case.leaves, &case.total, &case.draws, &exact, &off]);
    }
}

fn nodes(page: &mut String, statistics: &Statistics) {
    heading(page, "Pay of nodes");
    let z: Vec<f64> = statistics.nodes.iter().filter_map(|node| node.pay.z()).collect();
    let count = float(z.len() as u128);
    let beyond = |most: f64| z.iter().filter(|z| z.abs() > most).count();
    let square = z.iter().map(|z| z * z).sum::<f64>() / count;
    line(
        page,
        format_args!(
            "Of {} nodes, {} are more than 1.96 standard deviations from what they are owed (5 % \
             would be {:.0}), {} more than 2.58 (1 % would be {:.0}). The mean of z² is {square:.2}; \
             1 is expected.\n",
            z.len(),
            beyond(1.96),
            count / 20.0,
            beyond(2.58),
            count / 100.0
        ),
    );
    let (owed, kept) = (|node: &NodeResult| node.pay.owed, |node: &NodeResult| node.kept);
    let correlation = |a: fn(&NodeResult) -> u128, b: fn(&NodeResult) -> u128| {
        format!("{:.4}", correlated(&statistics.nodes, a, b))
    };
    table(page, &["correlation over nodes", "every batch drawn once", "all rounds"]);
    let (once, all) = (|node: &NodeResult| node.pay.paid_once, |node: &NodeResult| node.pay.paid);
    row(page, &[&"paid and owed", &correlation(owed, once), &correlation(owed, all)]);
    row(
        page,
        &[&"paid and kept by the node itself", &correlation(kept, once), &correlation(kept, all)],
    );
    page.push('\n');
    table(page, &["nodes", "how many", "paid / owed", "paid / price of the chunks that it kept"]);
    let price =
        "Leaves that stand twice are paid twice and kept once: a little over 100 % for all.";
    for conduct in Conduct::ALL {
        let all: Vec<&NodeResult> =
            statistics.nodes.iter().filter(|node| node.conduct == conduct).collect();
        let sum = |of: fn(&NodeResult) -> u128| all.iter().map(|node| of(node)).sum::<u128>();
        let kept = sum(|node| node.kept) * statistics.options.rounds as u128;
        let (owed, paid) = (sum(|node| node.pay.owed), sum(|node| node.pay.paid));
        row(page, &[&conduct.name(), &all.len(), &percent(paid, owed), &percent(paid, kept)]);
    }
    line(page, format_args!("\n{price}"));
}

fn groups(page: &mut String, statistics: &Statistics) {
    heading(page, "Where a wrong draw would show");
    line(
        page,
        "The same for groups of shares that a wrong formula, a wrong edge or rounding would favour.\n",
    );
    table(page, &["group", "paid / owed", "interval", "z"]);
    for group in &statistics.groups {
        let paid = percent(group.pay.paid, group.pay.owed);
        row(page, &[&group.name, &paid, &interval(&group.pay), &z(&group.pay)]);
    }
}

fn clients(page: &mut String, statistics: &Statistics) {
    heading(page, "What clients try");
    line(
        page,
        "Paid is what others got: not what came back to the client, by refunds or to its own \
         accounts. Stored is the listed price of the chunks that nodes have kept for it. A gain is \
         what it has stored for less than that price; it would have to be above the interval. Tips \
         are what others got for settling; they come on top, and gas does too.\n",
    );
    table(
        page,
        &[
            "client",
            "batches",
            "draws",
            "refunded",
            "its own",
            "paid / stored",
            "gain",
            "interval",
            "z",
            "tips / stored",
        ],
    );
    for client in &statistics.clients {
        client_row(page, client);
    }
    line(
        page,
        "\nWho withholds a chunk gets back on average exactly what its leaf cost, and who pays itself \
         gets back exactly what it put in: nothing is won before tips and gas, and both are lost. \
         A leaf that stands twice is paid twice and stored once.",
    );
}

fn client_row(page: &mut String, client: &ClientResult) {
    let stored = float(client.stored);
    // Without the minus of a rounded nothing.
    let gain = format!("{:+.2} %", 100.0 * client.gain() / stored).replace("-0.00", "+0.00");
    let interval = if client.pay.variance > 0.0 {
        format!("±{:.2} %", 100.0 * client.pay.half_width() / stored)
    } else {
        "exact".to_owned()
    };
    row(
        page,
        &[
            &client.client.name(),
            &client.batches,
            &client.draws,
            &client.refunded,
            &client.own,
            &percent(client.pay.paid, client.stored),
            &gain,
            &interval,
            &z(&client.pay),
            &percent(client.tips, client.stored),
        ],
    );
}

fn unevenness(page: &mut String, statistics: &Statistics) {
    heading(page, "How uneven pay is");
    line(
        page,
        "A node that has so many chunks, each in a batch of 256 leaves with one draw, all equally \
         likely to be with it; what it is paid, in parts of what it is owed. Shares have many prices \
         here, and the formula is for equal ones. Chunks of one batch are drawn at even steps, so many \
         chunks of one large batch are a little more even than this.\n",
    );
    table(
        page,
        &[
            "chunks",
            "nodes looked at",
            "got nothing",
            "(1 − 1/256)^chunks",
            "mean",
            "standard deviation",
            "√(255 / chunks)",
            "5 % got at most",
            "half",
            "95 %",
        ],
    );
    for uneven in &statistics.unevenness {
        let part = |value: f64| format!("{:.1} %", 100.0 * value);
        let [low, half, high] = uneven.percentiles.map(part);
        row(
            page,
            &[
                &uneven.chunks,
                &uneven.holders,
                &part(uneven.nothing),
                &part(uneven.nothing_expected),
                &part(uneven.mean),
                &part(uneven.deviation),
                &part(uneven.deviation_expected),
                &low,
                &half,
                &high,
            ],
        );
    }
}

fn heading(page: &mut String, text: &str) {
    line(page, format_args!("\n## {text}\n"));
}

fn line(page: &mut String, text: impl Display) {
    writeln!(page, "{text}").expect("invariant: a string takes everything");
}

fn table(page: &mut String, heads: &[&str]) {
    let cells: Vec<&dyn Display> = heads.iter().map(|head| head as &dyn Display).collect();
    row(page, &cells);
    line(page, format_args!("|{}", "---|".repeat(heads.len())));
}

fn row(page: &mut String, cells: &[&dyn Display]) {
    let cells: Vec<String> = cells.iter().map(ToString::to_string).collect();
    line(page, format_args!("| {} |", cells.join(" | ")));
}

fn percent(part: u128, whole: u128) -> String {
    format!("{:.2} %", 100.0 * float(part) / float(whole))
}

/// The confidence interval around what is owed, in parts of it.
fn interval(pay: &Pay) -> String {
    if pay.variance > 0.0 {
        format!("±{:.2} %", 100.0 * pay.half_width() / float(pay.owed))
    } else {
        "exact".to_owned()
    }
}

fn z(pay: &Pay) -> String {
    pay.z().map_or_else(|| "–".to_owned(), |z| format!("{z:+.2}"))
}
