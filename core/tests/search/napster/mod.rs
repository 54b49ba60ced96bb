//! One directory and its users on virtual time, and how much the directory does on one core.

mod network;
mod speed;
mod world;
