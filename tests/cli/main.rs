//! The program as scripts see it: arguments in; exit codes, stdout and stderr out.

mod basics;
mod config;
mod create;
mod dht;
mod fasttrack;
mod gnutella;
mod lab;
mod napster;
mod program;
mod publish;
mod search;
mod show;
mod tls;
mod tracker;
mod transfer;
mod verify;
