//! The peer wire protocol: handshake, messages, framing.
