//! Whom we could connect to, and whom never again.
