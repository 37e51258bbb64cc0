//! The routing table among few names and among 100,000: a lookup happens once for each request.

use std::hint::black_box;

use criterion::Criterion;
use tunnel_router::{HostTable, Hostname};

/// How many names there are.
const SIZES: [u32; 2] = [10, 100_000];

pub(crate) fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing");
    for size in SIZES {
        let table = table(size);
        let middle = size / 2;
        for (what, host) in [
            ("a name", format!("app-{middle}.vps.example.com")),
            ("a name under a wildcard", format!("x.dev-{middle}.example.com")),
            ("no such name", "nobody.vps.example.org".to_owned()),
        ] {
            group.bench_function(format!("{what} of {size}"), |bencher| {
                // A name is parsed once for each request, and by then is in no cache: so here.
                bencher.iter(|| table.lookup(&Hostname::parse(black_box(&host)).unwrap()));
            });
        }
    }
    group.finish();
}

/// So many names; for every tenth a wildcard beside it.
fn table(size: u32) -> HostTable<u32> {
    let mut table = HostTable::new();
    for number in 0..size {
        table.insert(format!("app-{number}.vps.example.com").parse().unwrap(), number);
        if number % 10 == 0 || number == size / 2 {
            table.insert(format!("*.dev-{number}.example.com").parse().unwrap(), number);
        }
    }
    table
}
