//! JSON-RPC over plain HTTP, as little of it as Anvil needs.
//!
//! Not the client's own: what is checked with it must not hang on what is checked.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// The longest body in either direction, in bytes.
const MAX_BODY_BYTES: usize = 16 << 20;

/// The longest head of a message, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Where Anvil answers.
#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    /// Host and port.
    address: String,
}

impl Rpc {
    /// The server at `http://host:port`.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("Anvil answers over http")?;
        Ok(Self { address: address.trim_end_matches('/').to_owned() })
    }

    /// One question, one answer.
    ///
    /// # Errors
    /// When it cannot be asked or says no.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Result<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.forward(body.to_string().as_bytes()).await?;
        let mut answer: Value = serde_json::from_slice(&answer).context("an answer of Anvil")?;
        if let Some(error) = answer.get("error") {
            bail!("Anvil says to {method}: {error}");
        }
        Ok(answer["result"].take())
    }

    /// A number in its hexadecimal form.
    pub(crate) async fn number(&self, method: &str, params: Value) -> Result<u64> {
        let answer = self.ask(method, params).await?;
        hex_number(&answer).with_context(|| format!("{method} gave {answer}"))
    }

    /// The body of the answer to this body.
    pub(crate) async fn forward(&self, body: &[u8]) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address).await.context("Anvil is gone")?;
        let head = format!("POST / HTTP/1.1\r\nhost: {}\r\nconnection: close", self.address);
        stream.write_all(&message(&head, body)).await.context("cannot ask Anvil")?;
        read_message(&mut BufReader::new(stream)).await?.context("no answer")
    }
}

/// A number such as `"0x1f"`.
pub(crate) fn hex_number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// A message in one piece: two would wait for each other's acknowledgement.
pub(crate) fn message(head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("{head}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Reads the body of one HTTP message, as long as its `content-length`; `None` when the other side has ended.
pub(crate) async fn read_message<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
) -> Result<Option<Vec<u8>>> {
    let (mut length, mut read) = (0_usize, 0);
    loop {
        let mut line = String::new();
        let count = reader.take(MAX_HEAD_BYTES as u64).read_line(&mut line).await;
        let count = count.context("a message breaks off")?;
        read += count;
        ensure!(read <= MAX_HEAD_BYTES, "the head of a message is too long");
        if count == 0 {
            ensure!(read == 0, "a message breaks off");
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("the length of a message")?;
        }
    }
    ensure!(length <= MAX_BODY_BYTES, "a message is too long");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.context("a message breaks off")?;
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_read_one_after_the_other() {
        let bytes: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n";
        let mut reader = BufReader::new(bytes);
        assert_eq!(read_message(&mut reader).await.unwrap().unwrap(), b"ab");
        assert_eq!(read_message(&mut reader).await.unwrap().unwrap(), b"");
        assert!(read_message(&mut reader).await.unwrap().is_none());
        let mut short = BufReader::new(&b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nab"[..]);
        read_message(&mut short).await.unwrap_err();
    }

    #[test]
    fn numbers_are_hexadecimal() {
        assert_eq!(hex_number(&json!("0x1f")), Some(31));
        assert_eq!(hex_number(&json!(31)), None);
    }
}
