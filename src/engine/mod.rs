//! Drives the machines of core over sockets and disks.
