//! The bytes of a file on their way to a socket.
//!
//! One large piece is read while the one before it is sent, on a thread that may wait for the disk.

use super::Shared;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// Bytes that are read and sent at once, unless a limit of the rate makes them fewer.
const PIECE: u64 = 256 << 10;

/// Sends bytes to one connection and counts them.
pub(super) struct Sender<'a> {
    pub(super) shared: &'a Shared,
    pub(super) stream: &'a mut TcpStream,
    /// Bytes of the body that were handed to the system.
    pub(super) sent: u64,
    /// How long the system took to take them.
    pub(super) took: Duration,
}

impl Sender<'_> {
    /// Sends a range of a file, which must not reach beyond the end that it had.
    ///
    /// # Errors
    /// The file has become shorter, or the other side takes too little.
    pub(super) async fn file(&mut self, file: File, range: Range<u64>) -> io::Result<()> {
        let file = Arc::new(file);
        let limit = self.shared.config.limit.as_ref();
        let most = limit.map_or(PIECE, |limit| limit.piece(PIECE));
        let read = |at: u64, mut buffer: Vec<u8>| -> JoinHandle<io::Result<Vec<u8>>> {
            let (file, len) = (Arc::clone(&file), most.min(range.end - at));
            spawn_blocking(move || {
                buffer.resize(len as usize, 0);
                file.read_exact_at(&mut buffer, at)?;
                Ok(buffer)
            })
        };
        let (mut at, mut spare) = (range.start, Vec::new());
        let mut coming = (at < range.end).then(|| read(at, Vec::new()));
        while let Some(piece) = coming.take() {
            let piece = piece.await??;
            at += piece.len() as u64;
            if at < range.end {
                coming = Some(read(at, std::mem::take(&mut spare)));
            }
            self.bytes(&piece).await?;
            spare = piece;
        }
        Ok(())
    }

    /// Sends some bytes, as fast as the limit allows.
    pub(super) async fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Shared { clock, config, .. } = self.shared;
        if let Some(limit) = &config.limit {
            limit.pass(bytes.len() as u64).await;
        }
        while !bytes.is_empty() {
            let left = config.patience.most(self.sent).saturating_sub(self.took);
            let began = clock.now();
            let wrote = timeout(left.min(config.patience.stall), self.stream.write(bytes)).await;
            let len = wrote.map_err(|_| io::ErrorKind::TimedOut)??;
            if len == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.took += clock.now().since(began);
            self.sent += len as u64;
            super::held(&self.shared.totals).bytes += len as u64;
            bytes = &bytes[len..];
        }
        Ok(())
    }
}
