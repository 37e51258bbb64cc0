//! Fleets of a real client, at a real server.

use tunnel_client::{Policies, Refusal};
use tunnel_testkit::{Site, TestServer, Upstream};

use super::*;
use crate::{
    args::{Output, WebName},
    resolve::client::{Publish, Target},
};

/// A client without tunnels, and all that it takes.
struct World {
    _site: Site,
    _server: TestServer,
    upstream: Upstream,
    fleet: Fleet,
}

impl World {
    async fn new() -> Self {
        let site = Site::new().unwrap();
        let server = site.start(Vec::new()).unwrap();
        let client = Arc::new(site.client(&site.token("one")).connect().await.unwrap());
        let target = Target {
            server: site.control_address().to_string().parse().unwrap(),
            token: None,
            trust: None,
            proxy: None,
        };
        let (output, grace) = (Output::Text, Duration::ZERO);
        let session = SessionPlan { target, output, verbose: false, grace, state: None };
        let fleet = Fleet::new(client, session, Console::new());
        Self { _site: site, _server: server, upstream: Upstream::hello("one").await.unwrap(), fleet }
    }

    /// Wants tunnels with these names and subdomains.
    fn want(&mut self, tunnels: &[(&str, &str)]) {
        let plan = |subdomain: &str| TunnelPlan {
            publish: Publish::Http(WebName {
                subdomain: Some(subdomain.into()),
                domain: None,
                path: None,
                pool: false,
            }),
            policies: Policies::new(),
            upstream: self.upstream.target().parse().unwrap(),
            protocol: Default::default(),
        };
        let plans = tunnels.iter().map(|(name, subdomain)| ((*name).to_owned(), plan(subdomain)));
        let plans = plans.collect();
        self.fleet.want(plans);
    }

    /// Waits until all that was asked for is answered.
    async fn settle(&mut self) {
        while self.fleet.members.values().any(|member| member.asked.is_some()) {
            self.fleet.next().await;
        }
    }
}

#[tokio::test]
async fn a_tunnel_that_is_had_after_all_has_not_failed() {
    let mut world = World::new().await;
    world.want(&[("web", "a")]);
    world.settle().await;
    let former = world.fleet.members["web"].now.as_ref().unwrap().1.id();
    world.want(&[("web", "b")]);
    // The operator closes it while its file says something else already.
    let closed = TunnelEnd::Refused(Refusal::permanent(Code::Closed, "closed by the operator"));
    world.fleet.ended(former, &closed);
    assert!(world.fleet.verdict().is_err());
    world.settle().await;
    assert!(world.fleet.members["web"].now.is_some());
    assert!(world.fleet.verdict().is_ok());
}
