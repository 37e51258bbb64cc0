//! Fleets of a real client, at a real server.

use tunnel_client::{Policies, Refusal};
use tunnel_testkit::{Site, TestServer, Upstream, Visitor};

use super::*;
use crate::{
    args::{Output, WebName},
    resolve::client::{Publish, Target},
};

/// A client without tunnels, and all that it takes.
struct World {
    site: Site,
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
        Self { site, _server: server, upstream: Upstream::hello("one").await.unwrap(), fleet }
    }

    /// Wants tunnels with these names and subdomains, or domains, which have a dot.
    fn want(&mut self, tunnels: &[(&str, &str)]) {
        let host = |is_domain, host: &str| (is_domain == host.contains('.')).then(|| host.to_owned());
        let plan = |name: &str| TunnelPlan {
            publish: Publish::Http(WebName {
                subdomain: host(false, name),
                domain: host(true, name),
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

    /// Wants tunnels that share the subdomain `a`, each with a login to ask its visitors for.
    fn want_pool(&mut self, tunnels: &[(&str, &str)]) {
        let plan = |(at, (name, login)): (usize, &(&str, &str))| {
            let publish =
                Publish::Http(WebName { subdomain: Some("a".into()), domain: None, path: None, pool: true });
            // Never visited, but each another one.
            let upstream = format!("127.0.0.1:{}", at + 1).parse().unwrap();
            let policies = Policies::new().basic_auth(&format!("ann:{login}")).unwrap();
            ((*name).to_owned(), TunnelPlan { publish, policies, upstream, protocol: Default::default() })
        };
        let plans = tunnels.iter().enumerate().map(plan).collect();
        self.fleet.want(plans);
    }

    /// Waits until all that was asked for is answered.
    async fn settle(&mut self) {
        let is_open = |member: &Member| member.asked.is_some() || member.waits.is_some();
        while self.fleet.members.values().any(is_open) {
            assert_eq!(self.fleet.next().await, Happening::Told);
        }
    }

    /// Which subdomain each tunnel has.
    fn had(&self) -> Vec<(&str, String)> {
        let had = |member: &Member| {
            let (_, tunnel) = member.now.as_ref()?;
            tunnel.address().as_ref().and_then(given_name)
        };
        self.fleet
            .members
            .iter()
            .map(|(name, member)| (name.as_str(), had(member).unwrap_or_default()))
            .collect()
    }

    fn failed(&self) -> Vec<&str> {
        let failed = self.fleet.members.iter().filter(|(_, member)| member.has_failed);
        failed.map(|(name, _)| name.as_str()).collect()
    }

    /// Asks for pages under these subdomains, over and over; each must be there.
    fn visit(&self, subdomains: &'static [&str]) -> JoinSet<()> {
        let web = self.site.web_address();
        let mut visits = JoinSet::new();
        for subdomain in subdomains {
            visits.spawn(async move {
                loop {
                    let answer = Visitor::get(web, &format!("{subdomain}.test"), "/").await.unwrap();
                    assert_eq!(answer.status, 200, "{subdomain}: {}", answer.head);
                }
            });
        }
        visits
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

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_swap_names_and_no_visitor_is_turned_away() {
    let mut world = World::new().await;
    world.want(&[("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")]);
    world.settle().await;
    let mut visits = world.visit(&["a", "b", "d"]);
    // Two that swap, all in a circle, a row of which the last steps aside, and back, and two circles.
    for order in [
        ["b", "a", "c", "d"],
        ["c", "d", "b", "a"],
        ["a", "b", "d", "e"],
        ["c", "a", "b", "d"],
        ["d", "b", "a", "c"],
    ] {
        let wanted: Vec<_> = ["1", "2", "3", "4"].into_iter().zip(order).collect();
        world.want(&wanted);
        world.settle().await;
        assert!(world.failed().is_empty());
        assert!(world.had().into_iter().map(|(_, had)| had).eq(order), "{:?}", world.had());
    }
    assert!(visits.try_join_next().is_none(), "a visitor was turned away");
}

#[tokio::test]
async fn names_are_swapped_however_they_are_spelled() {
    let mut world = World::new().await;
    world.want(&[("1", "a"), ("2", "b.test"), ("3", "c")]);
    world.settle().await;
    // As a subdomain what another one has as a domain, the other way round, and both.
    for (wanted, had) in [
        (["b", "a", "c"], ["b", "a", "c"]),
        (["a.test", "b.test", "c"], ["a", "b", "c"]),
        (["b", "c", "A.test"], ["b", "c", "a"]),
    ] {
        let wanted: Vec<_> = ["1", "2", "3"].into_iter().zip(wanted).collect();
        world.want(&wanted);
        world.settle().await;
        assert_eq!(world.failed(), [""; 0], "{wanted:?}");
        assert!(world.had().into_iter().map(|(_, had)| had).eq(had), "{:?}", world.had());
    }
}

#[tokio::test]
async fn an_edit_that_cannot_be_had_takes_no_name_from_anybody() {
    let mut world = World::new().await;
    world.want(&[("1", "a"), ("2", "b"), ("3", "c")]);
    world.settle().await;
    // Who waits for one that stays after all, and who waits for that.
    world.want(&[("1", "b"), ("2", "c"), ("3", "not_a_name")]);
    world.settle().await;
    assert_eq!(world.failed(), ["1", "2", "3"]);
    assert!(world.had().into_iter().map(|(_, had)| had).eq(["a", "b", "c"]), "{:?}", world.had());
}

#[tokio::test]
async fn a_new_tunnel_gets_a_name_that_another_leaves_or_gives_up() {
    let mut world = World::new().await;
    world.want(&[("1", "a"), ("2", "b")]);
    world.settle().await;
    world.want(&[("0", "a"), ("1", "c"), ("3", "b")]);
    world.settle().await;
    assert!(world.failed().is_empty());
    assert!(world.had().into_iter().map(|(_, had)| had).eq(["a", "c", "b"]), "{:?}", world.had());
}

#[tokio::test]
async fn tunnels_that_share_a_name_change_together_or_not_at_all() {
    let mut world = World::new().await;
    let all = ["1", "2", "3"];
    world.want_pool(&[("1", "a"), ("2", "a"), ("3", "a")]);
    world.settle().await;
    world.want_pool(&[("1", "b"), ("2", "b"), ("3", "b")]);
    world.settle().await;
    assert_eq!(world.failed(), [""; 0]);
    assert!(world.had().into_iter().eq(all.map(|name| (name, "a".to_owned()))), "{:?}", world.had());
    // One that stays as it is keeps the others as they are, and so do two that don't agree.
    for logins in [["c", "c", "b"], ["c", "d", "e"]] {
        let wanted: Vec<_> = all.into_iter().zip(logins).collect();
        let tunnels = |world: &World| {
            let now = world.fleet.members.values().map(|member| member.now.as_ref().unwrap().1.id());
            now.collect::<Vec<_>>()
        };
        let before = tunnels(&world);
        world.want_pool(&wanted);
        world.settle().await;
        let refused: Vec<_> =
            wanted.iter().filter(|(_, login)| *login != "b").map(|(name, _)| *name).collect();
        assert_eq!(world.failed(), refused);
        assert_eq!(tunnels(&world), before);
    }
    // A file that agrees with itself again.
    world.want_pool(&[("1", "c"), ("2", "c"), ("3", "c")]);
    world.settle().await;
    assert_eq!(world.failed(), [""; 0]);
    assert!(world.had().into_iter().eq(all.map(|name| (name, "a".to_owned()))), "{:?}", world.had());
}
