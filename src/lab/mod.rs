//! Scripted swarms of real processes on loopback.
