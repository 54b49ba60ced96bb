//! The extension protocol and the messages that travel in it.
