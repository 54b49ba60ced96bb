//! The tracker bundled with gaggle.
