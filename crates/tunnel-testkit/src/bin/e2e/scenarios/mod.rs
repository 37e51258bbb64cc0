//! What must hold, in the order in which a person would meet it.

mod first_use;
mod refusals;
mod setup;

mod crashes;
mod links;
mod reload;
mod restarts;
mod upgrade;
mod upgrade_dies;
mod upgrade_hangs;

mod domains_pools;
mod names;
mod policies;
mod shaping;
mod tenants;
mod udp;

mod changes;
mod equality;
mod flags;
mod gate;
mod http2;
mod https;
mod upstreams;

mod bulk;
mod busy_day;
mod crowd;
mod live;

mod access_log;
mod dashboard;
mod rights;
mod store;

mod drain;
mod limits;
mod secrets;
mod strangers;

mod interop;

use crate::harness::Scenario;

/// Every scenario.
pub(crate) fn all() -> Vec<Scenario> {
    [
        first_use::SCENARIOS,
        setup::SCENARIOS,
        refusals::SCENARIOS,
        crashes::SCENARIOS,
        links::SCENARIOS,
        restarts::SCENARIOS,
        reload::SCENARIOS,
        upgrade::SCENARIOS,
        upgrade_dies::SCENARIOS,
        upgrade_hangs::SCENARIOS,
        names::SCENARIOS,
        domains_pools::SCENARIOS,
        policies::SCENARIOS,
        shaping::SCENARIOS,
        udp::SCENARIOS,
        tenants::SCENARIOS,
        https::SCENARIOS,
        http2::SCENARIOS,
        gate::SCENARIOS,
        changes::SCENARIOS,
        equality::SCENARIOS,
        upstreams::SCENARIOS,
        flags::SCENARIOS,
        bulk::SCENARIOS,
        busy_day::SCENARIOS,
        live::SCENARIOS,
        access_log::SCENARIOS,
        dashboard::SCENARIOS,
        rights::SCENARIOS,
        store::SCENARIOS,
        crowd::SCENARIOS,
        drain::SCENARIOS,
        limits::SCENARIOS,
        secrets::SCENARIOS,
        strangers::SCENARIOS,
        interop::SCENARIOS,
    ]
    .concat()
}

/// Lists a file's scenarios: a sentence and a function each.
macro_rules! scenarios {
    ($($name:literal => $function:ident,)+) => {
        pub(crate) const SCENARIOS: &[$crate::harness::Scenario] = &[
            $($crate::harness::Scenario { name: $name, run: |world| Box::pin($function(world)) },)+
        ];
    };
}
use scenarios;
