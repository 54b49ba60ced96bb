//! gaggle among clients of other makes.

mod house;
