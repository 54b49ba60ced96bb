//! Several processes of the program on loopback, and what they must survive: kills, poison, hostile peers.
//!
//! Every process has its own state folder, dies with its handle, and is waited for no longer than a deadline. Peers
//! that do harm are played by threads of the test, which speak the wire with the program's own codec.

mod hostile;
mod kill;
mod mischief;
mod poison;
mod scene;
