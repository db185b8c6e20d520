//! Frames on a stream: the length of the header (u32, little-endian), the header, then the body,
//! whose length the header tells. Every length is checked before anything is allocated, and a
//! sender that falls silent is given up.

use std::{future::Future, io, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use spillway_types::limits::MAX_HEADER_BYTES;
use tokio::{sync::Semaphore, time::timeout};

use crate::limits::{LEAST_RATE, SLICE_BYTES};

/// How much of a header is allocated ahead of its arrival, in bytes: a sender that announces much
/// and sends nothing costs only this. Headers that are not larger need no permission.
const HEADER_STEP_BYTES: usize = 4 * 1024;

/// A header as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// All of it.
    Whole(Vec<u8>),
    /// It announces more than a header may have; only its first byte was read, which tells the
    /// kind of request.
    TooLong(u8),
    /// There is no memory for it; only its first byte was read.
    NoRoom(u8),
}

/// Reads the header of a frame, all of it within `stall`. `room` has a permit for each byte of
/// those headers that are larger than the first step.
pub(crate) async fn read_header<T>(
    io: &mut T,
    stall: Duration,
    room: &Semaphore,
) -> io::Result<Header>
where
    T: AsyncRead + Unpin,
{
    timeout(stall, read_header_unhurried(io, room)).await?
}

async fn read_header_unhurried<T>(io: &mut T, room: &Semaphore) -> io::Result<Header>
where
    T: AsyncRead + Unpin,
{
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length);
    if length == 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut first = [0];
    io.read_exact(&mut first).await?;
    let [first] = first;
    if length as usize > MAX_HEADER_BYTES {
        return Ok(Header::TooLong(first));
    }
    let asked = if length as usize > HEADER_STEP_BYTES { length } else { 0 };
    let Ok(_room) = room.try_acquire_many(asked) else { return Ok(Header::NoRoom(first)) };
    let length = length as usize;
    let mut header = vec![first];
    while header.len() < length {
        let have = header.len();
        header.resize(length.min(have + HEADER_STEP_BYTES), 0);
        io.read_exact(&mut header[have..]).await?;
    }
    Ok(Header::Whole(header))
}

/// How long `bytes` may take: whoever never falls silent but trickles must not hold memory long.
fn longest(bytes: usize, stall: Duration) -> Duration {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    stall + Duration::from_secs(bytes.into()) / LEAST_RATE
}

async fn paced<R>(
    bytes: usize,
    stall: Duration,
    moved: impl Future<Output = io::Result<R>>,
) -> io::Result<R> {
    timeout(longest(bytes, stall), moved).await?
}

/// Reads a body of `size` bytes, which the caller has checked against the limit; a sender that is
/// silent for `stall` or slower than [`LEAST_RATE`] is given up.
pub(crate) async fn read_body<T>(io: &mut T, size: usize, stall: Duration) -> io::Result<Vec<u8>>
where
    T: AsyncRead + Unpin,
{
    paced(size, stall, read_unhurried(io, size, stall)).await
}

async fn read_unhurried<T>(io: &mut T, size: usize, stall: Duration) -> io::Result<Vec<u8>>
where
    T: AsyncRead + Unpin,
{
    let mut body = vec![0; size];
    let mut filled = 0;
    while filled < size {
        let end = size.min(filled + SLICE_BYTES);
        match timeout(stall, io.read(&mut body[filled..end])).await?? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(body)
}

/// Waits for the end of what the other side sends; `false` when it sends more.
pub(crate) async fn ends<T>(io: &mut T, stall: Duration) -> io::Result<bool>
where
    T: AsyncRead + Unpin,
{
    Ok(timeout(stall, io.read(&mut [0])).await?? == 0)
}

/// Writes a header with its length before it.
pub(crate) async fn write_header<T>(io: &mut T, header: &[u8], stall: Duration) -> io::Result<()>
where
    T: AsyncWrite + Unpin,
{
    let length =
        u32::try_from(header.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut frame = Vec::with_capacity(4 + header.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(header);
    write(io, &frame, stall).await
}

/// Writes bytes; a receiver that takes nothing for `stall` or is slower than [`LEAST_RATE`] is
/// given up.
pub(crate) async fn write<T>(io: &mut T, bytes: &[u8], stall: Duration) -> io::Result<()>
where
    T: AsyncWrite + Unpin,
{
    paced(bytes.len(), stall, write_unhurried(io, bytes, stall)).await
}

async fn write_unhurried<T>(io: &mut T, bytes: &[u8], stall: Duration) -> io::Result<()>
where
    T: AsyncWrite + Unpin,
{
    let mut written = 0;
    while written < bytes.len() {
        let end = bytes.len().min(written + SLICE_BYTES);
        match timeout(stall, io.write(&bytes[written..end])).await?? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            taken => written += taken,
        }
    }
    timeout(stall, io.flush()).await?
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    const STALL: Duration = Duration::from_secs(1);

    /// A sender that says nothing and stays.
    struct Silent;

    impl AsyncRead for Silent {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Pending
        }
    }

    /// Moves one byte every nine tenths of a stall.
    struct Trickle(std::pin::Pin<Box<tokio::time::Sleep>>);

    impl Trickle {
        const PAUSE: Duration = Duration::from_millis(900);

        fn new() -> Self {
            Self(Box::pin(tokio::time::sleep(Self::PAUSE)))
        }

        fn poll(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<usize>> {
            std::task::ready!(self.0.as_mut().poll(cx));
            self.0 = Box::pin(tokio::time::sleep(Self::PAUSE));
            std::task::Poll::Ready(Ok(1))
        }
    }

    impl AsyncRead for Trickle {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            _: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            Trickle::poll(&mut self, cx)
        }
    }

    impl AsyncWrite for Trickle {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            _: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            Trickle::poll(&mut self, cx)
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn poll_close(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Ok(()))
        }
    }

    fn room() -> Semaphore {
        Semaphore::new(MAX_HEADER_BYTES)
    }

    async fn read(bytes: &[u8]) -> Result<Header, io::ErrorKind> {
        read_header(&mut Cursor::new(bytes), STALL, &room()).await.map_err(|error| error.kind())
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_round_trips() {
        for length in [1, 2, HEADER_STEP_BYTES, HEADER_STEP_BYTES + 1, MAX_HEADER_BYTES] {
            let header: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut wire = Vec::new();
            write_header(&mut wire, &header, STALL).await.unwrap();
            assert_eq!(wire.len(), 4 + length);
            assert_eq!(read(&wire).await, Ok(Header::Whole(header)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_length_comes_first_and_is_checked_first() {
        let over = u32::try_from(MAX_HEADER_BYTES + 1).unwrap().to_le_bytes();
        let long = [&over[..], &[2]].concat();
        assert_eq!(read(&long).await, Ok(Header::TooLong(2)));
        let longest = [&u32::MAX.to_le_bytes()[..], &[3]].concat();
        assert_eq!(read(&longest).await, Ok(Header::TooLong(3)));
        assert_eq!(read(&[0; 4]).await, Err(io::ErrorKind::InvalidData));
        assert_eq!(read(&[4, 0, 0, 0, 1, 2, 3]).await, Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read(&[4, 0]).await, Err(io::ErrorKind::UnexpectedEof));
    }

    #[tokio::test(start_paused = true)]
    async fn large_headers_need_room_and_give_it_back() {
        let room = room();
        let mut wire = Vec::new();
        write_header(&mut wire, &vec![9; MAX_HEADER_BYTES], STALL).await.unwrap();
        let held = room.try_acquire().unwrap();
        let refused = read_header(&mut Cursor::new(&wire), STALL, &room).await.unwrap();
        assert_eq!(refused, Header::NoRoom(9));
        let mut small = Vec::new();
        write_header(&mut small, &[8; HEADER_STEP_BYTES], STALL).await.unwrap();
        let read = read_header(&mut Cursor::new(&small), STALL, &room).await.unwrap();
        assert_eq!(read, Header::Whole(vec![8; HEADER_STEP_BYTES]));
        drop(held);
        for _ in 0..2 {
            let read = read_header(&mut Cursor::new(&wire), STALL, &room).await.unwrap();
            assert_eq!(read, Header::Whole(vec![9; MAX_HEADER_BYTES]));
        }
        assert_eq!(room.available_permits(), MAX_HEADER_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_exactly_its_length() {
        let bytes = vec![7; 3 * SLICE_BYTES];
        let mut io = Cursor::new(&bytes);
        let body = read_body(&mut io, bytes.len() - 1, STALL).await.unwrap();
        assert_eq!(body, bytes[1..]);
        assert!(!ends(&mut io, STALL).await.unwrap());
        assert!(ends(&mut io, STALL).await.unwrap());
        let short = read_body(&mut Cursor::new(&bytes), bytes.len() + 1, STALL).await;
        assert_eq!(short.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_given_up() {
        let size = 10 * LEAST_RATE as usize;
        let started = tokio::time::Instant::now();
        let written = write(&mut Trickle::new(), &vec![1; size], STALL).await.unwrap_err();
        assert_eq!(written.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), Duration::from_secs(10) + STALL);
        let read = read_body(&mut Trickle::new(), size, STALL).await.unwrap_err();
        assert_eq!(read.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), 2 * (Duration::from_secs(10) + STALL));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_given_up() {
        let started = tokio::time::Instant::now();
        let silent = read_header(&mut Silent, STALL, &room()).await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        let silent = read_body(&mut Silent, 1, STALL).await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), 2 * STALL);
    }
}
