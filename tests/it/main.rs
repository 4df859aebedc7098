//! Everything that needs a real server: one binary, one scenario a file.

mod bad_input;
mod binary;
mod breaches;
mod capture;
mod coherence;
mod crash;
mod drain;
mod exact;
mod feed;
mod filter;
mod generation;
mod group_commit;
mod harness;
mod held_rows;
mod operator;
mod outage;
mod private_server;
mod records;
mod routing;
mod sessions;
mod slow_readers;
mod stampede;
mod subscriptions;
mod tracking;
mod two_nodes;
mod writes;
