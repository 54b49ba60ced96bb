//! The bytes of one connection, and how it ends.

use gaggle_core::overlay::napster::UserId;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;

/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;
/// Writes that wait for a connection; further ones are kept together by its owner.
pub(super) const QUEUE: usize = 8;
/// How long somebody may take to read what fits into one write; then he is left.
const STALL_MAX: Duration = Duration::from_secs(60);
/// How long we wait for the other side to close, so that the system does not throw away our last words when more comes
/// from there.
const LINGER: Duration = Duration::from_secs(2);
/// Connections that are waited for in this way; further ones are closed at once.
pub(super) const LINGERING_MAX: usize = 128;
/// Bytes that are read meanwhile, and thrown away.
const DISCARDED_MAX: u64 = 64 << 10;

/// What a connection tells the task that owns the machine.
pub(super) enum Input {
    Closed(UserId),
    Read(UserId, Vec<u8>),
    Sent(UserId, usize),
}

/// What a connection and its owner share.
pub(super) struct Ends {
    pub(super) inbox: mpsc::Sender<Input>,
    /// Closed when the connection is to end.
    pub(super) queue: mpsc::Receiver<Vec<u8>>,
    /// Told when the next read may come.
    pub(super) go: Arc<Notify>,
    pub(super) lingering: Arc<Semaphore>,
}

/// Carries bytes until one side has had enough.
pub(super) async fn carry(mut stream: TcpStream, id: UserId, ends: Ends) {
    let Ends { inbox, queue, go, lingering } = ends;
    let (read, write) = stream.split();
    let ours = tokio::select! {
        () = read_all(read, id, &inbox, &go) => false,
        done = write_all(write, id, &inbox, queue) => done,
    };
    if ours {
        part(&mut stream, &lingering).await;
    }
    _ = inbox.send(Input::Closed(id)).await; // nobody hears it at the end
}

/// Says something to somebody who is not let in.
pub(super) async fn send_away(mut stream: TcpStream, words: Vec<u8>, lingering: Arc<Semaphore>) {
    if let Ok(Ok(())) = timeout(LINGER, stream.write_all(&words)).await {
        part(&mut stream, &lingering).await;
    }
}

async fn read_all(read: ReadHalf<'_>, id: UserId, inbox: &mpsc::Sender<Input>, go: &Notify) {
    loop {
        // No memory for who says nothing.
        if read.readable().await.is_err() {
            return;
        }
        let mut bytes = Vec::with_capacity(READ_BYTES);
        match read.try_read_buf(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {
                if inbox.send(Input::Read(id, bytes)).await.is_err() {
                    return;
                }
                go.notified().await;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Writes until the queue is closed; `false` if it could not write all.
async fn write_all(
    mut write: WriteHalf<'_>,
    id: UserId,
    inbox: &mpsc::Sender<Input>,
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> bool {
    while let Some(bytes) = queue.recv().await {
        match timeout(STALL_MAX, write.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            _ => return false,
        }
        if inbox.send(Input::Sent(id, bytes.len())).await.is_err() {
            return false;
        }
    }
    true
}

async fn part(stream: &mut TcpStream, lingering: &Semaphore) {
    let Ok(_permit) = lingering.try_acquire() else { return };
    if stream.shutdown().await.is_ok() {
        let mut rest = stream.take(DISCARDED_MAX);
        let mut sink = tokio::io::sink();
        _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut sink)).await;
    }
}
