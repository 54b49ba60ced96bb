//! Which block to ask whom for.
