//! How many come through, and how much is remembered.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_allowed_and_then_one_at_a_time() {
    let limit = RateLimit::new(3, Duration::from_secs(3));
    let visitor = ip("192.0.2.1");
    for _ in 0..3 {
        assert_eq!(limit.take(visitor), Ok(()));
    }
    assert_eq!(limit.take(visitor), Err(Duration::from_secs(1)));
    assert_eq!(limit.take(ip("::ffff:192.0.2.1")), Err(Duration::from_secs(1)));
    assert_eq!(limit.take(ip("192.0.2.2")), Ok(()));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(limit.take(visitor), Ok(()));
    assert_eq!(limit.wait(visitor), Duration::from_secs(1));
    assert_eq!(limit.take(visitor), Err(Duration::from_secs(1)), "asking costs nothing");
    tokio::time::advance(Duration::from_secs(60)).await;
    for _ in 0..3 {
        assert_eq!(limit.take(visitor), Ok(()));
    }
    assert!(limit.take(visitor).is_err(), "time doesn't pile up");
}

#[tokio::test(start_paused = true)]
async fn one_ipv6_network_is_one_visitor() {
    let limit = RateLimit::new(1, Duration::from_secs(1));
    assert_eq!(limit.take(ip("2001:db8::1")), Ok(()));
    assert!(limit.take(ip("2001:db8::2")).is_err());
    assert_eq!(limit.take(ip("2001:db8:0:1::1")), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_addresses_leaves_memory_bounded_and_those_who_keep_coming_counted() {
    let limit = RateLimit::new(2, Duration::from_secs(1_000_000));
    let steady = ip("192.0.2.1");
    assert_eq!(limit.take(steady), Ok(()));
    let v6 = |address: u128| IpAddr::V6(address.into());
    for n in 0..100_000_u32 {
        assert_eq!(limit.take(v6((0x2001_0db8_u128 << 96) | (u128::from(n) << 64))), Ok(()));
        if n % 2_000 == 0 {
            assert!(limit.wait(steady).is_zero());
        }
    }
    assert_eq!(limit.take(steady), Ok(()));
    assert!(limit.take(steady).is_err());
    let table = limit.full_at.lock().unwrap();
    assert!(table.young.len() + table.old.len() <= REMEMBERED);
}

proptest! {
    #[test]
    fn never_more_than_the_allowance_and_a_refill(count in 1u32..50, steps in proptest::collection::vec(0u64..400, 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limit = RateLimit::new(count, Duration::from_secs(1));
            let start = Instant::now();
            let mut taken = 0;
            for step in steps {
                tokio::time::advance(Duration::from_millis(step)).await;
                match limit.take(ip("192.0.2.1")) {
                    Ok(()) => taken += 1,
                    Err(wait) => prop_assert!(wait <= Duration::from_secs(1) / count),
                }
                let most = f64::from(count) * (1.0 + start.elapsed().as_secs_f64()) + 1e-6;
                prop_assert!(f64::from(taken) <= most);
            }
            Ok(())
        })?;
    }
}
