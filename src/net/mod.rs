//! Sockets: listening, dialling, moving bytes of one connection.
