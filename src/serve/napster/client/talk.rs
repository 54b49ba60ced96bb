//! Words with another client, on a connection of our own or of his.

use super::link::READ_BYTES;
use crate::net::Clock;
use bytes::Bytes;
use gaggle_core::clock::Instant;
use gaggle_core::overlay::napster::{Inbound, Outbound, Step, TransferError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the other side may take nothing at all of what we say.
pub(super) const STALL_MAX: Duration = Duration::from_secs(60);
/// Bytes a second that it must take over time. A slow link takes more; who takes single bytes only holds a place.
const RATE_MIN: u64 = 1 << 10;

/// A machine of `core` that says what to write and what came of it.
pub(super) trait Talk {
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]);
    fn handle_closed(&mut self);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_step(&mut self) -> Option<Step>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn poll_transmit(&mut self) -> Option<Bytes>;
}

macro_rules! talk {
    ($machine:ty) => {
        impl Talk for $machine {
            fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
                Self::handle_bytes(self, now, bytes);
            }
            fn handle_closed(&mut self) {
                Self::handle_closed(self);
            }
            fn handle_timeout(&mut self, now: Instant) {
                Self::handle_timeout(self, now);
            }
            fn poll_step(&mut self) -> Option<Step> {
                Self::poll_step(self)
            }
            fn poll_timeout(&self) -> Option<Instant> {
                Self::poll_timeout(self)
            }
            fn poll_transmit(&mut self) -> Option<Bytes> {
                Self::poll_transmit(self)
            }
        }
    };
}
talk!(Inbound);
talk!(Outbound);

/// Writes what a machine has to say.
pub(super) async fn say(stream: &mut TcpStream, talk: &mut impl Talk) -> Result<(), TransferError> {
    while let Some(words) = talk.poll_transmit() {
        write(stream, &words).await?;
    }
    Ok(())
}

/// Writes as fast as the other side takes it, unless it takes nothing for [`STALL_MAX`], or less than [`RATE_MIN`].
pub(super) async fn write(stream: &mut TcpStream, mut bytes: &[u8]) -> Result<(), TransferError> {
    let most = STALL_MAX + Duration::from_secs(bytes.len() as u64 / RATE_MIN);
    let all = async {
        while !bytes.is_empty() {
            match timeout(STALL_MAX, stream.write(bytes)).await {
                Ok(Ok(0) | Err(_)) => return Err(TransferError::Closed),
                Ok(Ok(written)) => bytes = &bytes[written..],
                Err(_) => return Err(TransferError::Silent),
            }
        }
        Ok(())
    };
    timeout(most, all).await.unwrap_or(Err(TransferError::Silent))
}

/// Speaks and listens until there is a step.
pub(super) async fn next_step(
    stream: &mut TcpStream,
    talk: &mut impl Talk,
    clock: Clock,
) -> Result<Step, TransferError> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match talk.poll_step() {
            Some(Step::Failed(error)) => return Err(error),
            Some(step) => {
                say(stream, talk).await?;
                return Ok(step);
            }
            None => say(stream, talk).await?,
        }
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(0) | Err(_) => {
                    talk.handle_closed();
                    return match talk.poll_step() {
                        Some(Step::Failed(error)) => Err(error),
                        Some(step) => Ok(step),
                        None => Err(TransferError::Closed),
                    };
                }
                Ok(read) => talk.handle_bytes(clock.now(), &buffer[..read]),
            },
            () = clock.sleep_until(talk.poll_timeout()) => talk.handle_timeout(clock.now()),
        }
    }
}
