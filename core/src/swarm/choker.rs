//! Whom we upload to.
