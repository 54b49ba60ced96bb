//! Moves the bytes of one link. What is read goes to the owner of the machine as it came, one bounded piece at a time;
//! what is written is packed here.

use super::gate::Seat;
use super::pack::Packer;
use super::task::News;
use bytes::{Bytes, BytesMut};
use gaggle_core::overlay::gnutella::{LINGER, LinkId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// Messages that may wait for the socket. The machine hands out some bytes more than a queue of 16 KiB at most, and no
/// message is shorter than a header, so there is always room.
pub(super) const WAITING_MAX: usize = 1024;
/// Bytes of one piece that is read.
const READ_MAX: usize = 16 << 10;
/// Bytes that are still read, and thrown away, after the last word; who sends more may lose it.
const DISCARD_MAX: usize = 64 << 10;

/// Something to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) bytes: Bytes,
    pub(super) packed: bool,
}

/// Moves bytes until the neighbour closes, or until the owner drops `to_send` and what was in it has been sent, for a
/// while after `held` is dropped. A stranger who is not let in keeps his `seat` until then.
pub(super) async fn run(
    stream: TcpStream,
    id: LinkId,
    to_send: mpsc::Receiver<Outgoing>,
    held: oneshot::Receiver<()>,
    seat: Seat,
    news: mpsc::Sender<News>,
) {
    let _seat = seat; // goes last, after the socket
    let (mut from, to) = stream.into_split();
    let writing = write(to, id, to_send, news.clone());
    let let_go = async {
        let _ = held.await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::pin!(writing, let_go);
    tokio::select! {
        () = read(&mut from, id, &news) => {}
        done = &mut writing => if done.is_some() {
            // A connection that is closed before all was read loses what was said last.
            let drain = async {
                let mut rest = vec![0; READ_MAX];
                let mut left = DISCARD_MAX;
                while let Ok(read @ 1..) = from.read(&mut rest).await
                    && read < left
                {
                    left -= read;
                }
            };
            tokio::select! { () = drain => {} () = &mut let_go => {} }
        },
        () = &mut let_go => {}
    }
    let _ = news.send(News::Gone(id)).await;
}

async fn read(from: &mut OwnedReadHalf, id: LinkId, news: &mpsc::Sender<News>) {
    loop {
        let mut piece = BytesMut::with_capacity(READ_MAX);
        if !from.read_buf(&mut piece).await.is_ok_and(|read| read > 0)
            || news.send(News::Bytes(id, piece.freeze())).await.is_err()
        {
            return;
        }
    }
}

/// Says what was written, and is done with `Some` when there is no more of it, or with `None` if it is in vain.
async fn write(
    mut to: OwnedWriteHalf,
    id: LinkId,
    mut to_send: mpsc::Receiver<Outgoing>,
    news: mpsc::Sender<News>,
) -> Option<()> {
    let mut packer: Option<Packer> = None;
    let mut out = Vec::new();
    while let Some(first) = to_send.recv().await {
        let mut sent = 0;
        let mut packs = false;
        let mut next = Some(first);
        while let Some(Outgoing { bytes, packed }) = next {
            sent += bytes.len();
            if packed {
                packer.get_or_insert_with(Packer::new).pack(&bytes, &mut out);
            } else {
                out.extend_from_slice(&bytes);
            }
            packs |= packed;
            next = to_send.try_recv().ok();
        }
        if let Some(packer) = packer.as_mut().filter(|_| packs) {
            packer.flush(&mut out);
        }
        to.write_all(&out).await.ok()?;
        out.clear();
        news.send(News::Sent(id, sent)).await.ok()?;
    }
    to.shutdown().await.ok()
}
