//! Servers that are not there, do not answer, or answer nonsense.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use spillway_pay::{At, Chain, ChainError, RpcChain, RpcOptions};
use spillway_types::Retry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Answers every request with this, once a connection.
async fn serve(status: &'static str, body: &'static str) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:secret@{}/key-in-path?k=v", listener.local_addr().unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                request.extend_from_slice(&buffer[..read]);
            }
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, tasks)
}

fn chain(url: &str) -> RpcChain {
    RpcChain::new(RpcOptions { url: url.into(), timeout: Duration::from_millis(300) }).unwrap()
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let chain = chain(&format!("{endpoint}/v3/key"));
    let error = chain.block(At::Depth(0)).await.unwrap_err();
    assert_eq!(error, ChainError::Unreachable { endpoint });
    assert_eq!(error.retry(), Retry::Backoff);
    assert!(!chain.send_raw(&[1]).await.unwrap_err().not_sent(), "doubt");
}

#[tokio::test]
async fn nobody_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let error = chain(&endpoint).chain_id().await.unwrap_err();
    let after = Duration::from_millis(300);
    assert_eq!(error, ChainError::Timeout { endpoint, after });
    assert!(!error.not_sent(), "doubt");
}

#[tokio::test]
async fn answers_of_other_kinds() {
    let unexpected =
        |detail: &str| ChainError::Unexpected { method: "eth_chainId", detail: detail.into() };
    for (status, body, expected) in [
        ("429 Too Many Requests", "slow down", ChainError::RateLimited),
        ("403 Forbidden", "no", unexpected("HTTP status 403")),
        ("200 OK", "<html>", unexpected("<html>")),
        ("200 OK", r#"{"jsonrpc":"2.0","id":0,"result":"zz"}"#, unexpected(r#""zz""#)),
        (
            "200 OK",
            r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"Method not found"}}"#,
            unexpected("Method not found"),
        ),
    ] {
        let (url, _tasks) = serve(status, body).await;
        let error = chain(&url).chain_id().await.unwrap_err();
        assert_eq!(error, expected, "{status} {body}");
    }
    let (url, _tasks) = serve("502 Bad Gateway", "").await;
    match chain(&url).chain_id().await.unwrap_err() {
        ChainError::Unreachable { endpoint } => {
            assert!(!endpoint.contains("secret") && !endpoint.contains("key"), "{endpoint}");
            assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
        }
        other => panic!("{other:?}"),
    }
}

/// Answers each request with the next of these, the last one again and again, and counts them.
async fn serve_in_turn(
    answers: Vec<(&'static str, &'static str)>,
) -> (String, Arc<AtomicUsize>, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    let count = Arc::clone(&asked);
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                request.extend_from_slice(&buffer[..read]);
            }
            let at = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            let (status, body) = answers[at];
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked, tasks)
}

#[tokio::test]
async fn a_question_is_asked_again_and_a_transaction_is_not() {
    let busy = ("429 Too Many Requests", "slow down");
    let good = ("200 OK", r#"{"jsonrpc":"2.0","id":1,"result":"0x7"}"#);
    let (url, asked, _tasks) = serve_in_turn(vec![busy, good]).await;
    assert_eq!(chain(&url).chain_id().await, Ok(7));
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    let (url, asked, _tasks) = serve_in_turn(vec![("502 Bad Gateway", "")]).await;
    let chain = chain(&url);
    assert_eq!(chain.chain_id().await.unwrap_err().retry(), Retry::Backoff);
    assert_eq!(asked.swap(0, Ordering::SeqCst), 3, "not for ever");
    assert!(!chain.send_raw(&[1]).await.unwrap_err().not_sent(), "doubt");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "who sends decides whether to send again");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        stream.write_all(head).await.unwrap();
        // Until the other side hangs up.
        let blanks = vec![b' '; 65_536];
        while stream.write_all(&blanks).await.is_ok() {}
    });
    let options = RpcOptions { url, timeout: Duration::from_secs(30) };
    let error = RpcChain::new(options).unwrap().chain_id().await.unwrap_err();
    let detail = "an answer of more than 8388608 bytes".into();
    assert_eq!(error, ChainError::Unexpected { method: "eth_chainId", detail });
    tasks.join_all().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (url, _tasks) = serve("308 Permanent Redirect\r\nlocation: http://127.0.0.1:1/", "").await;
    let error = chain(&url).chain_id().await.unwrap_err();
    let detail = "HTTP status 308".into();
    assert_eq!(error, ChainError::Unexpected { method: "eth_chainId", detail });
}

#[test]
fn urls_that_are_none() {
    for url in ["", "localhost", "ws://localhost:1", "file:///etc/passwd", "http://"] {
        match RpcChain::new(RpcOptions::new(url)) {
            Err(ChainError::BadUrl { .. }) => {}
            other => panic!("{url:?}: {other:?}"),
        }
    }
    // With a certificate store and without a connection.
    let chain = RpcChain::new(RpcOptions::new("https://u:p@rpc.example/v3/KEY?k=KEY")).unwrap();
    assert_eq!(chain.endpoint(), "https://rpc.example");
    assert_eq!(format!("{chain:?}"), "RpcChain(https://rpc.example)");
}
