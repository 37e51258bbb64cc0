//! Who keeps a place, who gets one, and who is turned away.

use std::rc::{Rc, Weak};

use super::*;

/// A table, and a clock to move.
struct Bench {
    table: FlowTable<Rc<()>>,
    limits: FlowLimits,
    now: Instant,
}

/// A flow as the outside sees it.
struct Seen {
    visitor: SocketAddr,
    id: FlowId,
    alive: Weak<()>,
}

impl Seen {
    fn is_over(&self) -> bool {
        self.alive.strong_count() == 0
    }
}

impl Bench {
    fn new(total: usize, per_address: usize) -> Self {
        Self { table: FlowTable::new(), limits: FlowLimits { total, per_address }, now: Instant::now() }
    }

    fn begin(&mut self, visitor: &str) -> Result<Seen, Full> {
        let visitor = visitor.parse().unwrap();
        self.table.make_room(visitor, self.limits, self.now)?;
        let value = Rc::new(());
        let alive = Rc::downgrade(&value);
        let id = self.table.begin(visitor, value, self.now);
        Ok(Seen { visitor, id, alive })
    }

    /// One that spoke, was answered, and spoke again.
    fn confirmed(&mut self, visitor: &str) -> Seen {
        let seen = self.begin(visitor).unwrap();
        self.answer(&seen);
        assert_eq!(self.hear(&seen), Some(Stage::Confirmed));
        seen
    }

    fn answer(&mut self, seen: &Seen) {
        self.table.answered(seen.visitor, seen.id, self.now);
    }

    fn hear(&mut self, seen: &Seen) -> Option<Stage> {
        self.table.heard(seen.visitor, self.now).map(|(_, stage)| stage)
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

#[test]
fn a_flow_gets_through_its_stages_by_being_heard_and_answered() {
    let mut bench = Bench::new(9, 9);
    let seen = bench.begin("192.0.2.1:1").unwrap();
    assert_eq!(bench.hear(&seen), Some(Stage::Unanswered), "asking again proves nothing");
    bench.answer(&seen);
    assert_eq!(bench.hear(&seen), Some(Stage::Confirmed));
    bench.answer(&seen);
    assert_eq!(bench.hear(&seen), Some(Stage::Confirmed));
    let other: SocketAddr = "192.0.2.1:2".parse().unwrap();
    assert!(bench.table.heard(other, bench.now).is_none());
}

#[test]
fn a_flood_of_invented_addresses_never_ends_a_flow_in_use() {
    let mut bench = Bench::new(100, 64);
    let live: Vec<Seen> = (0..50).map(|n| bench.confirmed(&format!("192.0.2.{n}:9"))).collect();
    let (mut taken_in, mut largest) = (0, 0);
    for n in 0..1_000_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        taken_in += u32::from(bench.begin(&format!("10.{a}.{b}.{c}:53")).is_ok());
        largest = largest.max(bench.table.len());
        if n % 1000 == 0 {
            bench.wait(10);
        }
        if n % 100_000 == 0 {
            live.iter().for_each(|seen| assert_eq!(bench.hear(seen), Some(Stage::Confirmed)));
        }
    }
    assert!(live.iter().all(|seen| !seen.is_over()));
    assert_eq!((largest, bench.table.sources.len()), (100, 100));
    // 50 places, each given up after a second at the earliest.
    assert!((500..=550).contains(&taken_in), "{taken_in}");
}

#[test]
fn who_proved_least_gives_way_first_and_the_longest_quiet_among_equals() {
    let mut bench = Bench::new(4, 4);
    let confirmed = bench.confirmed("192.0.2.1:1");
    let answered = bench.begin("192.0.2.2:1").unwrap();
    bench.answer(&answered);
    let older = bench.begin("192.0.2.3:1").unwrap();
    bench.wait(1);
    let newer = bench.begin("192.0.2.4:1").unwrap();
    assert!(bench.begin("192.0.2.5:1").is_err(), "all are in use");
    bench.wait(20_000);
    for (number, victim) in [(5, &older), (6, &newer), (7, &answered), (8, &confirmed)] {
        assert!(!victim.is_over());
        bench.begin(&format!("192.0.2.{number}:1")).unwrap();
        assert!(victim.is_over(), "{}", victim.visitor);
    }
    assert!(bench.begin("192.0.2.9:1").is_err());
}

#[test]
fn each_stage_has_its_patience() {
    for (stage, millis) in [(Stage::Unanswered, 1_000), (Stage::Answered, 500), (Stage::Confirmed, 10_000)] {
        let mut bench = Bench::new(1, 1);
        let seen = match stage {
            Stage::Confirmed => bench.confirmed("192.0.2.1:1"),
            _ => bench.begin("192.0.2.1:1").unwrap(),
        };
        if stage == Stage::Answered {
            bench.answer(&seen);
        }
        bench.wait(millis - 1);
        assert!(bench.begin("192.0.2.2:1").is_err(), "{stage:?}");
        bench.wait(1);
        assert!(bench.begin("192.0.2.2:1").is_ok() && seen.is_over(), "{stage:?}");
    }
}

#[test]
fn one_address_has_its_share_and_takes_nobody_elses() {
    let mut bench = Bench::new(10, 2);
    let stranger = bench.begin("192.0.2.9:1").unwrap();
    let mine = [bench.begin("192.0.2.1:1").unwrap(), bench.begin("192.0.2.1:2").unwrap()];
    assert!(bench.begin("192.0.2.1:3").is_err());
    bench.wait(1_000);
    bench.begin("192.0.2.1:3").unwrap();
    assert!(mine[0].is_over() && !mine[1].is_over() && !stranger.is_over());
    // All of a /64 are one.
    bench.begin("[2001:db8::1]:1").unwrap();
    bench.begin("[2001:db8::2]:1").unwrap();
    assert!(bench.begin("[2001:db8::3]:1").is_err());
    assert!(bench.begin("[2001:db8:0:1::1]:1").is_ok());
}

#[test]
fn a_place_that_becomes_free_is_seen_at_once() {
    let mut bench = Bench::new(1, 1);
    let seen = bench.begin("192.0.2.1:1").unwrap();
    assert!(bench.begin("192.0.2.2:1").is_err());
    bench.table.end(seen.visitor, seen.id);
    assert!(seen.is_over());
    let next = bench.begin("192.0.2.2:1").unwrap();
    // What an earlier flow of the same visitor does late is not about this one.
    bench.table.end(next.visitor, seen.id);
    bench.table.answered(next.visitor, seen.id, bench.now);
    assert!(!next.is_over());
    assert_eq!(bench.hear(&next), Some(Stage::Unanswered));
}

#[test]
fn idle_flows_end_whichever_way_the_last_datagram_went() {
    let mut bench = Bench::new(9, 9);
    let heard = bench.begin("192.0.2.1:1").unwrap();
    let answered = bench.begin("192.0.2.2:1").unwrap();
    let quiet = bench.begin("192.0.2.3:1").unwrap();
    bench.wait(30_000);
    bench.hear(&heard);
    bench.answer(&answered);
    bench.wait(30_000);
    bench.table.expire(Duration::from_secs(60), bench.now);
    assert!(quiet.is_over() && !heard.is_over() && !answered.is_over());
    bench.wait(30_000);
    bench.table.expire(Duration::from_secs(60), bench.now);
    assert_eq!(bench.table.len(), 0);
    assert_eq!(
        (bench.table.flows.capacity(), bench.table.sources.capacity()),
        (0, 0),
        "an idle port keeps no memory"
    );
}
