//! Micro-benchmarks of what every visitor pays for, and of what a scrape costs: `cargo bench -p tunnel-testkit`.
//!
//! They say where a change went, not how fast the tunnel is: that is `cargo xtask bench`, with real processes. For
//! counts that don't depend on what else the machine does, run the built bench under `valgrind --tool=callgrind` with
//! `--profile-time 1` and a name.

#![expect(clippy::unwrap_used, reason = "in benchmarks the failure is the message")]

mod routing;

mod head;

mod relay;

mod lane;

mod scrape;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    routing::lookups(&mut criterion);
    head::heads(&mut criterion);
    relay::bytes(&mut criterion);
    lane::streams(&mut criterion);
    scrape::beside_tunnels(&mut criterion);
    criterion.final_summary();
}
