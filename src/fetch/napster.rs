//! What is said to a user of Napster before the bytes of a file flow.

use super::line::Line;
use super::source::ANSWER_WAIT;
use crate::net::Clock;
use bytes::Bytes;
use gaggle_core::overlay::napster::{Errand, Outbound, Step, TransferError};
use gaggle_core::swarm::source::SourceFault;

/// Talks until the bytes flow from the wanted one on; those that have come already are the answer.
pub(super) async fn begin(
    line: &mut Line,
    clock: Clock,
    errand: Errand,
) -> Result<Bytes, SourceFault> {
    let mut talk = Outbound::new(clock.now(), errand);
    loop {
        while let Some(words) = talk.poll_transmit() {
            line.say(&words, ANSWER_WAIT).await?;
        }
        match talk.poll_step() {
            Some(Step::Data(bytes)) => return Ok(bytes.into()),
            Some(Step::Failed(error)) => return Err(fault(&error)),
            _ => {}
        }
        tokio::select! {
            heard = line.hear() => match heard? {
                true => talk.handle_bytes(clock.now(), &line.take()),
                false => talk.handle_closed(),
            },
            () = clock.sleep_until(talk.poll_timeout()) => talk.handle_timeout(clock.now()),
        }
    }
}

/// The same on a connection that the user made to give us the file: all that is left to say is from where on.
pub(super) async fn take(line: &mut Line, offset: u64) -> Result<Bytes, SourceFault> {
    line.say(offset.to_string().as_bytes(), ANSWER_WAIT).await?;
    Ok(line.take())
}

fn fault(error: &TransferError) -> SourceFault {
    match error {
        TransferError::Refused(_) => SourceFault::Refused,
        TransferError::Protocol => SourceFault::Head,
        TransferError::Silent => SourceFault::Stalled,
        _ => SourceFault::Lost,
    }
}
