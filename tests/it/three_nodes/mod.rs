//! Three nodes with Redis as one service, behind the balancer of `examples/cluster`.

mod faults;
mod restart;
mod shop;
