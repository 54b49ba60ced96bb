//! Ctrl-C and SIGTERM: the first asks to finish cleanly, the second leaves at once.

use super::exit::Exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Hears the first signal. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Signals(watch::Receiver<Option<Exit>>);

impl Signals {
    /// Starts to listen. From here on a single signal ends nothing by itself.
    pub(super) fn listen() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (tell, heard) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let exit = tokio::select! {
                    _ = interrupt.recv() => Exit::Interrupted,
                    _ = terminate.recv() => Exit::Terminated,
                };
                if tell.borrow().is_some() {
                    std::process::exit(i32::from(exit.code()));
                }
                tell.send_replace(Some(exit));
            }
        });
        Ok(Self(heard))
    }

    /// Waits for the first signal; returns at once if it came already.
    pub(super) async fn first(&self) -> Exit {
        let mut heard = self.0.clone();
        let exit = heard.wait_for(Option::is_some).await.map(|exit| *exit);
        match exit {
            Ok(exit) => exit.unwrap_or(Exit::Interrupted),
            // The listening task lives as long as the runtime: nobody is left to wait.
            Err(_) => std::future::pending().await,
        }
    }

    /// The signal that came, if one did.
    pub(super) fn heard(&self) -> Option<Exit> {
        *self.0.borrow()
    }
}
