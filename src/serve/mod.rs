//! The search networks, as far as they touch the world: sockets, timers, what is kept between runs.
//!
//! A driver for each network owns its machines of `gaggle_core::overlay` and carries out what they ask for. Never decides
//! what is found, whom to believe or whom to serve first: the machines do. No driver knows another.

pub mod fasttrack;
