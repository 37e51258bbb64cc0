//! Several clients at one name: who joins, who is turned away, and what each one's end means for the others.

use tunnel_protocol::Code;

use super::*;
use crate::{endpoint::Serving, policy::Policies};

/// A claim of token 1 that is content to share, from this installation and for this upstream.
fn member(instance: u8, upstream: &str) -> Claim {
    Claim { pool: true, upstream: upstream.into(), ..claim(1, instance) }
}

fn sessions(registry: &Registry) -> Vec<SessionId> {
    let mut found = Vec::new();
    registry.for_each(|_, members| found.extend(members.iter().map(|member| member.target.session.id)));
    found
}

#[tokio::test(start_paused = true)]
async fn clients_that_all_say_so_share_a_name_and_visitors_go_to_the_least_busy() {
    let registry = Registry::new(shared(), 80);
    let claims = [member(1, "a:1"), member(2, "a:1"), member(1, "b:1")];
    let leases: Vec<_> = claims.iter().map(|claim| registry.claim(&myapp(), claim).unwrap()).collect();
    assert_eq!(sessions(&registry), claims.each_ref().map(|claim| claim.session.id));
    let endpoint = leases[0].endpoint();
    assert!(leases.iter().all(|lease| Arc::ptr_eq(lease.endpoint(), endpoint)));

    let mut visitors: Vec<Serving> = Vec::new();
    for _ in 0..300 {
        visitors.push(endpoint.serve(VISITOR, None).await.unwrap());
    }
    let of = |visitors: &[Serving], claim: &Claim| {
        visitors.iter().filter(|visitor| visitor.session.id == claim.session.id).count()
    };
    assert!(claims.iter().all(|claim| of(&visitors, claim) == 100));
    visitors.retain(|visitor| visitor.session.id != claims[1].session.id);
    for _ in 0..100 {
        visitors.push(endpoint.serve(VISITOR, None).await.unwrap());
    }
    assert_eq!(of(&visitors, &claims[1]), 100, "all to the one that has none");

    // One that has just failed a visitor doesn't get it again, however idle it is.
    visitors.retain(|visitor| visitor.session.id != claims[1].session.id);
    let failed = endpoint.serve(VISITOR, None).await.unwrap();
    assert_eq!(failed.session.id, claims[1].session.id);
    let next = endpoint.serve(VISITOR, Some(failed.target())).await.unwrap();
    assert_ne!(next.session.id, failed.session.id);
}

#[tokio::test(start_paused = true)]
async fn one_client_may_bring_several_upstreams_and_each_once() {
    let registry = Registry::new(shared(), 80);
    let first = member(1, "a:1");
    let of_the_same = |tunnel, upstream: &str, pool| Claim {
        session: first.session.clone(),
        tunnel: TunnelId(tunnel),
        pool,
        ..member(1, upstream)
    };
    let one = registry.claim(&myapp(), &first).unwrap();
    let two = registry.claim(&myapp(), &of_the_same(2, "b:1", true)).unwrap();
    assert_eq!(sessions(&registry), [first.session.id; 2]);
    for (upstream, pool) in [("a:1", true), ("b:1", true), ("c:1", false)] {
        let error = registry.claim(&myapp(), &of_the_same(3, upstream, pool)).unwrap_err();
        assert!(
            error.to_string().contains("pool") || error.to_string().contains("this very client"),
            "{error}"
        );
    }
    // What only its own tunnels are in the way of, the client can see to: to it that is a name that one of them has.
    let http2 = Claim { protocol: UpstreamProtocol::Http2, ..of_the_same(3, "c:1", true) };
    let refusal = registry.claim(&myapp(), &http2).unwrap_err().refusal(&myapp());
    assert_eq!(refusal.code, Code::NameTaken, "{}", refusal.message);
    let other = registry.claim(&myapp(), &member(2, "a:1")).unwrap();
    let refusal = registry.claim(&myapp(), &http2).unwrap_err().refusal(&myapp());
    assert_eq!(refusal.code, Code::PoolMismatch, "{}", refusal.message);
    drop((other, one));
    assert!(two.endpoint().is_live());
    assert_eq!(sessions(&registry), [first.session.id]);
}

#[tokio::test(start_paused = true)]
async fn the_equally_busy_take_turns() {
    let registry = Registry::new(shared(), 80);
    let _leases: Vec<_> =
        (1..=3).map(|number| registry.claim(&myapp(), &member(number, "a:1")).unwrap()).collect();
    let endpoint = _leases[0].endpoint();
    let mut served = std::collections::HashMap::<_, usize>::new();
    for _ in 0..30 {
        // Gone again before the next one comes.
        let session = endpoint.serve(VISITOR, None).await.unwrap().session.id;
        *served.entry(session).or_default() += 1;
    }
    assert_eq!(served.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_goes_leaves_the_others_and_the_last_one_leaves_a_held_name() {
    for is_lost in [true, false] {
        let registry = Registry::new(shared(), 80);
        let first = registry.claim(&myapp(), &member(1, "a:1")).unwrap();
        let staying = member(2, "a:1");
        let second = registry.claim(&myapp(), &staying).unwrap();
        let endpoint = first.endpoint().clone();
        if is_lost {
            drop(first);
        } else {
            first.release();
        }
        for _ in 0..4 {
            assert_eq!(endpoint.serve(VISITOR, None).await.unwrap().session.id, staying.session.id);
        }
        assert!(registry.claim(&myapp(), &claim(2, 3)).is_err());
        if is_lost {
            drop(second);
        } else {
            second.release();
        }
        assert!(!endpoint.is_live());
        let waiting = endpoint.serve(VISITOR, None);
        tokio::pin!(waiting);
        assert!(futures_pending(&mut waiting).await);
        let back = member(1, "a:1");
        let _lease = registry.claim(&myapp(), &back).unwrap();
        assert_eq!(waiting.await.unwrap().session.id, back.session.id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_returns_replaces_its_former_self_and_nobody_else() {
    let registry = Registry::new(shared(), 80);
    let (half_dead, other) = (member(1, "a:1"), member(2, "a:1"));
    let old = registry.claim(&myapp(), &half_dead).unwrap();
    let _other = registry.claim(&myapp(), &other).unwrap();
    let back = member(1, "a:1");
    let _new = registry.claim(&myapp(), &back).unwrap();
    assert_eq!(sessions(&registry), [other.session.id, back.session.id]);
    drop(old);
    assert_eq!(sessions(&registry), [other.session.id, back.session.id], "its lease was over");
}

#[tokio::test(start_paused = true)]
async fn who_doesnt_fit_in_is_told_why() {
    let http2 = UpstreamProtocol::Http2;
    let policies = || {
        let spec = tunnel_protocol::bind::HostSpec::default().into();
        Arc::new(Policies::compile(vec![tunnel_protocol::Policy::Compress], &spec).unwrap())
    };
    for (has, wants, word) in [
        (member(1, "a:1"), claim(1, 2), "`--pool`"),
        (claim(1, 1), member(2, "a:1"), "start it with `--pool`"),
        (member(1, "a:1"), Claim { protocol: http2, ..member(2, "a:1") }, "`--upstream-protocol`"),
        (member(1, "a:1"), Claim { policies: policies(), ..member(2, "a:1") }, "policies"),
        // The same installation, with another upstream: no former self.
        (member(1, "a:1"), Claim { protocol: http2, ..member(1, "b:1") }, "`--upstream-protocol`"),
    ] {
        let registry = Registry::new(shared(), 80);
        let _lease = registry.claim(&myapp(), &has).unwrap();
        has.session.set_heard();
        let refusal = registry.claim(&myapp(), &wants).unwrap_err().refusal(&myapp());
        assert_eq!(refusal.code, Code::PoolMismatch, "{}", refusal.message);
        assert!(refusal.message.contains(word) && !refusal.is_passing(), "{}", refusal.message);
        assert_eq!(sessions(&registry), [has.session.id]);
        tokio::time::advance(Duration::from_secs(7)).await;
        let _new = registry.claim(&myapp(), &wants).expect("who is silent is in nobody's way");
        assert_eq!(sessions(&registry), [wants.session.id]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_client_alone_may_change_its_mind_when_it_restarts() {
    let registry = Registry::new(shared(), 80);
    for claim in [
        member(1, "localhost:1"),
        claim(1, 1),
        Claim { protocol: UpstreamProtocol::Http2, ..member(1, "localhost:1") },
        member(1, "localhost:1"),
    ] {
        let lease = registry.claim(&myapp(), &claim).unwrap();
        assert_eq!(sessions(&registry), [claim.session.id]);
        std::mem::forget(lease);
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_policies_are_the_same_value_also_after_an_absence() {
    let registry = Registry::new(shared(), 80);
    let first = registry.claim(&myapp(), &member(1, "a:1")).unwrap();
    let _second = registry.claim(&myapp(), &member(2, "a:1")).unwrap();
    let endpoint = first.endpoint().clone();
    let (one, other) =
        (endpoint.serve(VISITOR, None).await.unwrap(), endpoint.serve(VISITOR, None).await.unwrap());
    assert_ne!(one.session.id, other.session.id);
    assert!(Arc::ptr_eq(&one.policies, &other.policies));
    drop((first, _second));
    let _third = registry.claim(&myapp(), &member(3, "a:1")).unwrap();
    assert!(Arc::ptr_eq(&one.policies, &endpoint.known_policies()));
}

#[tokio::test]
async fn ports_can_be_shared_as_well() {
    for name in [Name::Tcp(free_port()), Name::Udp(free_port())] {
        let registry = Registry::new(shared(), 80);
        let first = registry.claim(&name, &member(1, "a:1")).unwrap();
        let second = registry.claim(&name, &member(2, "a:1")).unwrap();
        assert!(Arc::ptr_eq(first.endpoint(), second.endpoint()));
        first.release();
        assert!(second.endpoint().is_live());
        let refusal = registry.claim(&name, &claim(1, 3)).unwrap_err().refusal(&name);
        assert_eq!(refusal.code, Code::PoolMismatch);
        registry.clear();
    }
}
