//! A JSON-RPC server between the client and Anvil that lies, loses and lags as it is told.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::rpc::{Rpc, hex_number, message, read_message};

/// How often it is looked whether a transaction was mined.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(5);

/// How often at most: five seconds.
const LOOKS: usize = 1_000;

/// The method that sends a signed transaction.
pub(crate) const SEND: &str = "eth_sendRawTransaction";

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It is forwarded, and so is the answer.
    Honest,
    /// It is forwarded, and the connection breaks before the answer.
    Lost,
    /// The connection breaks at once.
    Reset,
    /// It is answered with an HTTP status.
    Status(u16),
    /// It is answered from the state of so many blocks ago.
    Lagging(u64),
    /// It is answered with this.
    Says(Value),
}

/// Something that happens to the chain on the way.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A call to Anvil.
    Call(&'static str, Value),
    /// Waits until the transaction that was sent with this request, or else the one sent last, is
    /// mined.
    WaitMined,
    /// Anvil forgets the transaction that was sent last.
    DropSent,
    /// [`Proxy::struck`] becomes known.
    Strike,
}

/// When a request is not simply forwarded, and what becomes of it then.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Of this method; `None`: any.
    pub(crate) method: Option<&'static str>,
    /// Only once so many transactions were sent through this proxy.
    pub(crate) after_sends: u64,
    /// The first of those that it is for, counted from 1.
    pub(crate) from: u64,
    /// How many in a row.
    pub(crate) count: u64,
    /// Before it is forwarded.
    pub(crate) before: Vec<Step>,
    /// How it is answered.
    pub(crate) answer: Answer,
    /// After it was forwarded and before it is answered.
    pub(crate) after: Vec<Step>,
}

impl Rule {
    /// For requests `from` to `from + count` of a method.
    pub(crate) fn new(method: Option<&'static str>, from: u64, count: u64, answer: Answer) -> Self {
        let (before, after) = (Vec::new(), Vec::new());
        Self { method, after_sends: 0, from, count, before, answer, after }
    }
}

/// The proxy. It works while [`Proxy::serve`] is polled.
#[derive(Debug)]
pub(crate) struct Proxy {
    listener: TcpListener,
    anvil: Rpc,
    state: Mutex<State>,
    struck: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    rules: Vec<(Rule, u64)>,
    sent: Vec<Value>,
    hits: u64,
}

impl Proxy {
    /// One that follows these rules.
    pub(crate) async fn new(anvil: Rpc, rules: Vec<Rule>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the proxy")?;
        let rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        let state = Mutex::new(State { rules, sent: Vec::new(), hits: 0 });
        Ok(Self { listener, anvil, state, struck: watch::Sender::new(false) })
    }

    /// Where clients find it.
    pub(crate) fn url(&self) -> Result<String> {
        Ok(format!("http://{}", self.listener.local_addr().context("the proxy has no port")?))
    }

    /// How many requests met a rule.
    pub(crate) fn hits(&self) -> u64 {
        self.state().hits
    }

    /// Returns once a [`Step::Strike`] was reached.
    pub(crate) async fn struck(&self) {
        // The sender is our own: it is never gone.
        let _ = self.struck.subscribe().wait_for(|struck| *struck).await;
    }

    /// From here on it is honest.
    pub(crate) fn behave(&self) {
        self.state().rules.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves for as long as it is polled.
    pub(crate) async fn serve(&self) -> Result<()> {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted.context("the proxy accepts nobody")?;
                    connections.push(self.connection(stream));
                }
                // A client that was killed breaks off: nothing to be done.
                Some(_) = connections.next() => {}
            }
        }
    }

    async fn connection(&self, stream: TcpStream) -> Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read_message(&mut stream).await? {
            let Some((status, body)) = self.answer(&request).await? else { return Ok(()) };
            let answer = message(&format!("HTTP/1.1 {status} Said"), &body);
            stream.write_all(&answer).await.context("a client is gone")?;
        }
        Ok(())
    }

    /// The answer, or nothing: then the connection breaks.
    async fn answer(&self, body: &[u8]) -> Result<Option<(u16, Vec<u8>)>> {
        let request: Value = serde_json::from_slice(body).context("a request")?;
        let method = request["method"].as_str().unwrap_or_default().to_owned();
        let Some(rule) = self.rule(&method) else {
            let answer = self.forward(&method, body).await?;
            return Ok(Some((200, answer)));
        };
        self.steps(&rule.before).await?;
        let answer = match rule.answer {
            Answer::Reset => None,
            Answer::Status(status) => Some((status, b"{}".to_vec())),
            Answer::Says(said) => {
                let said = json!({"jsonrpc": "2.0", "id": request["id"], "result": said});
                Some((200, said.to_string().into_bytes()))
            }
            Answer::Lost => {
                self.forward(&method, body).await?;
                None
            }
            Answer::Honest => Some((200, self.forward(&method, body).await?)),
            Answer::Lagging(blocks) => Some((200, self.lag(request, &method, blocks).await?)),
        };
        self.steps(&rule.after).await?;
        Ok(answer)
    }

    /// The rule that a request of this method meets now.
    fn rule(&self, method: &str) -> Option<Rule> {
        let mut state = self.state();
        let sends = state.sent.len() as u64;
        let mut found = None;
        for (rule, seen) in &mut state.rules {
            if rule.method.is_some_and(|of| of != method) || sends < rule.after_sends {
                continue;
            }
            *seen += 1;
            if found.is_none() && (rule.from..rule.from.saturating_add(rule.count)).contains(seen) {
                found = Some(rule.clone());
            }
        }
        state.hits += u64::from(found.is_some());
        found
    }

    async fn forward(&self, method: &str, body: &[u8]) -> Result<Vec<u8>> {
        let answer = self.anvil.forward(body).await?;
        if method == SEND
            && let Ok(said) = serde_json::from_slice::<Value>(&answer)
            && said["result"].is_string()
        {
            self.state().sent.push(said["result"].clone());
        }
        Ok(answer)
    }

    async fn steps(&self, steps: &[Step]) -> Result<()> {
        for step in steps {
            let last = self.state().sent.last().cloned();
            match (step, last) {
                (Step::Call(method, params), _) => {
                    self.anvil.ask(method, params.clone()).await?;
                }
                (Step::DropSent, Some(hash)) => {
                    self.anvil.ask("anvil_dropTransaction", json!([hash])).await?;
                }
                (Step::WaitMined, Some(hash)) => self.wait_mined(&hash).await?,
                (Step::Strike, _) => {
                    self.struck.send_replace(true);
                }
                (Step::DropSent | Step::WaitMined, None) => {}
            }
        }
        Ok(())
    }

    async fn wait_mined(&self, hash: &Value) -> Result<()> {
        for _ in 0..LOOKS {
            if !self.anvil.ask("eth_getTransactionReceipt", json!([hash])).await?.is_null() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::bail!("Anvil does not mine {hash}")
    }

    /// What a server that is so many blocks behind would say.
    async fn lag(&self, mut request: Value, method: &str, blocks: u64) -> Result<Vec<u8>> {
        let newest = self.anvil.number("eth_blockNumber", json!([])).await?;
        let seen = newest.saturating_sub(blocks);
        if let Some(params) = request["params"].as_array_mut() {
            for param in params.iter_mut().filter(|it| **it == "latest" || **it == "pending") {
                *param = format!("{seen:#x}").into();
            }
        }
        let answer = self.forward(method, request.to_string().as_bytes()).await?;
        let mut said: Value = serde_json::from_slice(&answer).context("an answer of Anvil")?;
        match method {
            "eth_blockNumber" => said["result"] = format!("{seen:#x}").into(),
            "eth_getTransactionReceipt"
                if hex_number(&said["result"]["blockNumber"]).is_some_and(|at| at > seen) =>
            {
                said["result"] = Value::Null;
            }
            _ => {}
        }
        Ok(said.to_string().into_bytes())
    }
}
