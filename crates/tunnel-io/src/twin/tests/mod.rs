//! Every order in which two streams can bring the same bytes, lose them, and end.

mod net;
mod party;

use std::{
    io::ErrorKind,
    pin::Pin,
    task::{Context, Waker},
};

use proptest::prelude::*;
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::oneshot,
};

use self::{
    net::{End, Wire},
    party::{Party, Plan},
};
use super::{Coming, Twinned};

const LIMIT: usize = 16;
const OPENER: usize = 0;
const ACCEPTOR: usize = 1;
const PRIMARY: usize = 0;
const TWIN: usize = 1;
/// What the acceptor says on each of the two before they meet.
const ACCEPTED: &[u8] = b"!";

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver {
        wire: usize,
        from: usize,
        count: usize,
    },
    /// The opener gets its twin.
    Open,
    /// The acceptor gets what comes first, then the other.
    Accept,
    Lose(usize),
    /// A party breaks off.
    Quit(usize),
}

struct World {
    wires: [Wire; 2],
    parties: [Option<Party>; 2],
    plans: [Plan; 2],
    /// Which of the two the acceptor gets first.
    first: usize,
    opening: Option<oneshot::Sender<End>>,
    accepting: Option<oneshot::Sender<End>>,
    lost: [bool; 2],
    has_quit: bool,
}

fn coming() -> (oneshot::Sender<End>, Coming<End>) {
    let (sender, receiver) = oneshot::channel();
    (sender, Box::pin(async { receiver.await.ok() }))
}

impl World {
    fn new(plans: [Plan; 2], first: usize) -> Self {
        let wires = [Wire::default(), Wire::default()];
        let (opening, twin) = coming();
        let opener = Twinned::of_primary(wires[PRIMARY].end(OPENER), twin, LIMIT, 0);
        let mut world = Self {
            parties: [Some(Party::new(opener, plans[OPENER].clone())), None],
            wires,
            plans,
            first,
            opening: Some(opening),
            accepting: None,
            lost: [false; 2],
            has_quit: false,
        };
        world.run();
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver { wire, from, count } => _ = self.wires[wire].deliver(from, count),
            Step::Open => {
                if let Some(opening) = self.opening.take() {
                    let _ = opening.send(self.wires[TWIN].end(OPENER));
                }
            }
            Step::Accept => self.accept(),
            Step::Lose(wire) => {
                self.lost[wire] = true;
                self.wires[wire].lose();
                // Who waits for a stream of a lost connection gives up in time.
                if wire != self.first && self.parties[ACCEPTOR].is_some() {
                    self.accepting = None;
                }
            }
            Step::Quit(party) => {
                if let Some(party) = &mut self.parties[party] {
                    self.has_quit |= party.io.take().is_some();
                }
            }
        }
        self.run();
    }

    fn accept(&mut self) {
        let arrives = |wire: usize| {
            self.wires[wire].say(ACCEPTOR, ACCEPTED);
            self.wires[wire].end(ACCEPTOR)
        };
        if self.parties[ACCEPTOR].is_none() {
            if self.lost[self.first] {
                self.first = 1 - self.first;
            }
            let (accepting, other) = coming();
            let first = arrives(self.first);
            let io = if self.first == PRIMARY {
                Twinned::of_primary(first, other, LIMIT, ACCEPTED.len())
            } else {
                Twinned::of_twin(first, other, LIMIT, ACCEPTED.len())
            };
            self.parties[ACCEPTOR] = Some(Party::new(io, self.plans[ACCEPTOR].clone()));
            self.accepting = (!self.lost[1 - self.first]).then_some(accepting);
        } else if let Some(accepting) = self.accepting.take() {
            let _ = accepting.send(arrives(1 - self.first));
        }
    }

    fn run(&mut self) {
        while self.parties.iter_mut().flatten().filter_map(|party| party.run().then_some(())).count() > 0 {}
    }

    /// Whatever can happen without another loss.
    fn settle(&mut self) {
        [Step::Open, Step::Accept, Step::Accept].into_iter().for_each(|step| self.step(step));
        loop {
            let mut any = false;
            for wire in &self.wires {
                for from in [OPENER, ACCEPTOR] {
                    any |= wire.deliver(from, usize::MAX);
                }
            }
            self.run();
            if !any {
                return;
            }
        }
    }

    fn party(&self, party: usize) -> &Party {
        self.parties[party].as_ref().unwrap()
    }

    /// What `party` should read in all.
    fn due(&self, party: usize) -> Vec<u8> {
        let said = self.plans[1 - party].says.as_slice();
        if party == OPENER { [ACCEPTED, said].concat() } else { said.to_vec() }
    }

    /// What must never be, whatever was lost.
    fn check(&self) {
        for (number, party) in self.parties.iter().enumerate() {
            let (Some(party), due) = (party, self.due(number)) else { continue };
            assert!(due.starts_with(&party.read), "{number} read {:?} of {due:?}", party.read);
            if party.read_end == Some(Ok(())) {
                assert!(self.plans[1 - number].ends && party.read == due, "{number}: a false end");
            }
        }
    }
}

fn plan() -> impl Strategy<Value = Plan> {
    (0..3 * LIMIT + 60, any::<bool>(), 1..40_usize, any::<bool>(), any::<bool>()).prop_map(
        |(length, ends, piece, flushes, splits)| {
            let says = (0..length).map(|n| u8::try_from(n).unwrap()).collect();
            Plan { says, ends, piece, flushes, splits }
        },
    )
}

fn way() -> impl Strategy<Value = Step> {
    (0..2_usize, 0..2_usize, 1..24_usize).prop_map(|(wire, from, count)| Step::Deliver { wire, from, count })
}

/// Steps of which few of this kind are in `rare`.
fn steps(rare: impl Strategy<Value = Step> + 'static) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![12 => way(), 2 => Just(Step::Open), 3 => Just(Step::Accept), 1 => rare];
    prop::collection::vec(step, 0..60)
}

/// Both have all that the other said and, where that ended, the end.
fn is_whole(world: &World) {
    for number in [OPENER, ACCEPTOR] {
        let party = world.party(number);
        assert_eq!(party.read, world.due(number), "{number}: {party:?}");
        assert_eq!(party.read_end, world.plans[1 - number].ends.then_some(Ok(())), "{number}: {party:?}");
        assert_eq!(party.write_end, world.plans[number].ends.then_some(Ok(())), "{number}: {party:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

    #[test]
    fn whatever_becomes_of_the_twin_all_is_read_once(
        plans in [plan(), plan()], first in 0..2_usize, steps in steps(Just(Step::Lose(TWIN))),
    ) {
        let mut world = World::new(plans, first);
        for step in steps {
            world.step(step);
            world.check();
        }
        world.settle();
        world.check();
        is_whole(&world);
    }

    #[test]
    fn a_cut_is_one(
        plans in [plan(), plan()], first in 0..2_usize,
        steps in steps(prop_oneof![Just(Step::Lose(PRIMARY)), Just(Step::Lose(TWIN)), (0..2_usize).prop_map(Step::Quit)]),
    ) {
        let mut world = World::new(plans, first);
        for step in steps {
            world.step(step);
            world.check();
        }
        let both_lost = world.lost == [true; 2];
        if both_lost && world.parties[ACCEPTOR].is_none() {
            return Ok(());
        }
        world.settle();
        world.check();
        if !world.lost[PRIMARY] && !world.has_quit {
            is_whole(&world);
        } else {
            for number in [OPENER, ACCEPTOR] {
                let party = world.party(number);
                prop_assert!(party.io.is_none() || party.read_end.is_some(), "{} hangs: {:?}", number, party);
                let is_due = world.plans[number].ends && party.read_end.is_some_and(|end| end.is_err());
                let has_ended = party.io.is_none() || party.write_end.is_some();
                prop_assert!(!is_due || has_ended, "who writes hangs at {}: {:?}", number, party);
            }
        }
    }
}

fn says(says: impl Into<Vec<u8>>, ends: bool) -> Plan {
    Plan { says: says.into(), ends, piece: 1000, flushes: true, splits: false }
}

fn bytes(length: u8) -> Vec<u8> {
    (0..length).collect()
}

/// All that is under way on this stream.
fn deliver(world: &mut World, wire: usize) {
    for from in [OPENER, ACCEPTOR, OPENER, ACCEPTOR] {
        world.step(Step::Deliver { wire, from, count: usize::MAX });
    }
}

#[test]
fn with_the_primary_stalled_the_first_bytes_are_there() {
    let mut world = World::new([says("ask", true), says(bytes(60), false)], TWIN);
    world.step(Step::Open);
    world.step(Step::Accept);
    deliver(&mut world, TWIN);
    assert_eq!(world.party(ACCEPTOR).read, b"ask");
    assert_eq!(world.party(ACCEPTOR).read_end, None, "it has something for the primary");
    assert_eq!(world.party(OPENER).read, world.due(OPENER)[..LIMIT]);
    world.settle();
    is_whole(&world);
}

#[test]
fn with_the_twin_stalled_nothing_is_missing() {
    let mut world = World::new([says(bytes(60), true), says(bytes(60), true)], PRIMARY);
    world.step(Step::Open);
    world.step(Step::Accept);
    for _ in 0..8 {
        deliver(&mut world, PRIMARY);
    }
    is_whole(&world);
}

#[test]
fn an_exchange_is_whole_over_the_twin_and_the_primary_that_comes_later_changes_nothing() {
    let mut world = World::new([says("ask", true), says("answer", true)], TWIN);
    world.step(Step::Open);
    world.step(Step::Accept);
    deliver(&mut world, TWIN);
    assert!(world.party(OPENER).io.is_none(), "the visitor is done");
    assert_eq!(world.party(ACCEPTOR).write_end, None, "the primary hasn't the answer");
    world.settle();
    is_whole(&world);
    assert!(world.party(ACCEPTOR).io.is_none());
}

#[test]
fn a_twin_that_is_over_is_dropped_at_both_ends() {
    for first in [PRIMARY, TWIN] {
        let mut world = World::new([says(bytes(60), false), says(bytes(60), false)], first);
        world.settle();
        for party in world.parties.iter_mut().flatten() {
            // Whoever reads or writes next finds it plain.
            let io = party.io.as_mut().unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut *io).poll_read(&mut cx, &mut ReadBuf::new(&mut [0])).is_pending());
            assert!(!io.is_twinned(), "{io:?}");
        }
    }
}

#[test]
fn a_stream_at_rest_is_plain_once_its_twin_is_over() {
    let wires = [Wire::default(), Wire::default()];
    let (over, is_over) = oneshot::channel::<()>();
    let twins = wires[TWIN].end(OPENER);
    let opener = Twinned::of_primary(wires[PRIMARY].end(OPENER), Box::pin(async { Some(twins) }), LIMIT, 0)
        .until(async { drop(is_over.await) });
    let (bringing, twin) = coming();
    let acceptor = Twinned::of_primary(wires[PRIMARY].end(ACCEPTOR), twin, LIMIT, 0);
    let mut parties = [Party::new(opener, says("ask", false)), Party::new(acceptor, says("answer", false))];
    let _ = bringing.send(wires[TWIN].end(ACCEPTOR));
    let run = |parties: &mut [Party; 2]| {
        loop {
            let ran = parties.iter_mut().filter_map(|party| party.run().then_some(())).count();
            let moved =
                wires.iter().flat_map(|wire| [OPENER, ACCEPTOR].map(|from| wire.deliver(from, usize::MAX)));
            if ran + moved.filter(|moved| *moved).count() == 0 {
                return;
            }
        }
    };
    run(&mut parties);
    assert!(parties.iter().all(|party| party.io.as_ref().unwrap().is_twinned()));
    over.send(()).unwrap();
    run(&mut parties);
    // Nobody comes here but those who were woken: a stream may be idle for days from now on.
    assert!(parties.iter().all(|party| !party.io.as_ref().unwrap().is_twinned()), "{parties:?}");
    // Who waits does so at what is left.
    [OPENER, ACCEPTOR].into_iter().for_each(|side| wires[PRIMARY].say(side, b"?"));
    run(&mut parties);
    assert_eq!(parties.map(|party| party.read), [b"answer?".to_vec(), b"ask?".to_vec()]);
}

/// An acceptor that has both streams, and has read what came on them.
fn accepted() -> World {
    let mut world = World::new([says("ask", false), says("", false)], PRIMARY);
    [Step::Open, Step::Accept, Step::Accept].into_iter().for_each(|step| world.step(step));
    deliver(&mut world, PRIMARY);
    deliver(&mut world, TWIN);
    assert_eq!(world.party(ACCEPTOR).read, b"ask");
    world
}

#[test]
fn a_twin_that_says_more_than_it_carries_is_dropped() {
    let mut world = accepted();
    world.wires[TWIN].say(OPENER, &[7; 30]);
    deliver(&mut world, TWIN);
    let due = [b"ask".as_slice(), &[7; LIMIT - 3]].concat();
    assert_eq!(world.party(ACCEPTOR).read, due);
    world.wires[PRIMARY].say(OPENER, &[8; 30]);
    deliver(&mut world, PRIMARY);
    assert_eq!(world.party(ACCEPTOR).read, [due.as_slice(), &[8; 33 - LIMIT]].concat(), "each place once");
}

#[test]
fn an_end_of_the_primary_before_what_its_twin_said_is_no_end() {
    let mut world = accepted();
    world.wires[TWIN].say(OPENER, b"lies");
    deliver(&mut world, TWIN);
    world.wires[PRIMARY].end_by_hand(OPENER);
    deliver(&mut world, PRIMARY);
    assert_eq!(world.party(ACCEPTOR).read_end, Some(Err(ErrorKind::InvalidData)));
}

#[test]
fn an_end_of_the_twin_before_what_its_primary_said_is_none() {
    let mut world = accepted();
    world.wires[PRIMARY].say(OPENER, b" more");
    deliver(&mut world, PRIMARY);
    world.wires[TWIN].end_by_hand(OPENER);
    deliver(&mut world, TWIN);
    assert_eq!(
        (world.party(ACCEPTOR).read.as_slice(), world.party(ACCEPTOR).read_end),
        (&b"ask more"[..], None)
    );
}

#[test]
fn a_primary_that_never_comes_is_a_reset() {
    let mut world = World::new([says("ask", false), says("answer", false)], TWIN);
    world.step(Step::Open);
    world.step(Step::Accept);
    deliver(&mut world, TWIN);
    world.accepting = None;
    world.run();
    assert_eq!(world.party(ACCEPTOR).read_end, Some(Err(ErrorKind::ConnectionReset)));
}

#[test]
fn both_given_up_before_the_primary_came_is_a_reset() {
    let mut world = World::new([says("ask", false), says("answer", false)], TWIN);
    world.step(Step::Open);
    world.step(Step::Accept);
    deliver(&mut world, TWIN);
    world.step(Step::Quit(OPENER));
    deliver(&mut world, TWIN);
    assert_eq!(world.party(ACCEPTOR).read_end, Some(Err(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn a_stream_that_says_little_has_no_twin_for_ever() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (primary, mut peer) = tokio::io::duplex(64);
    let (twin, mut copy) = tokio::io::duplex(64);
    let (over, is_over) = oneshot::channel::<()>();
    let until = async { drop(is_over.await) };
    let mut io = Twinned::of_primary(primary, Box::pin(async { Some(twin) }), LIMIT, 0).until(until);
    io.write_all(b"ask").await.unwrap();
    let (mut said, mut twice) = ([0; 3], [0; 3]);
    peer.read_exact(&mut said).await.unwrap();
    copy.read_exact(&mut twice).await.unwrap();
    assert_eq!((&said, &twice), (b"ask", b"ask"));
    over.send(()).unwrap();
    io.write_all(b"more").await.unwrap();
    assert_eq!(copy.read(&mut [0; 9]).await.unwrap(), 4, "the peer isn't known to have the primary");
    peer.write_all(b"!").await.unwrap();
    assert_eq!(io.read(&mut [0; 9]).await.unwrap(), 1);
    io.write_all(b"x").await.unwrap();
    assert!(!io.is_twinned());
    assert_eq!(copy.read(&mut [0; 9]).await.unwrap(), 0, "the twin was dropped");
}

#[tokio::test(start_paused = true)]
async fn who_writes_hears_that_both_were_given_up_from_who_reads() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let wire = Wire::default();
    let (_primary, coming) = coming();
    let io = Twinned::of_twin(wire.end(ACCEPTOR), coming, LIMIT, 0);
    let (mut reader, mut writer) = tokio::io::split(io);
    // More than it keeps for the primary.
    let mut writing = tokio::task::JoinSet::new();
    writing.spawn(async move { writer.write_all(&[7; 2 * LIMIT]).await });
    tokio::task::yield_now().await;
    drop(wire.end(OPENER));
    wire.deliver(OPENER, usize::MAX);
    let reset = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    reset(reader.read(&mut [0; 1]).await.unwrap_err());
    let written = tokio::time::timeout(std::time::Duration::from_secs(1), writing.join_next()).await;
    reset(written.expect("it was woken").unwrap().unwrap().unwrap_err());
}
