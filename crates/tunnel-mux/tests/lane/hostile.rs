//! A peer that breaks the protocol ends its own lane, with an error that says how.

use crate::support::in_time;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tunnel_mux::{Config, LaneError};

const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u8 = 1;
const ACK: u8 = 2;
const FIN: u8 = 4;
const RST: u8 = 8;

fn frame(kind: u8, flags: u8, stream: u32, length: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, kind, 0, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A server end, and the raw socket of its client.
struct Victim {
    end: crate::support::End,
    drivers: JoinSet<Result<(), LaneError>>,
    peer: DuplexStream,
}

impl Victim {
    fn new(config: &Config) -> Self {
        let (near, peer) = tokio::io::duplex(64 << 10);
        let mut drivers = JoinSet::new();
        let end = crate::support::run(tunnel_mux::server(near.compat(), config), &mut drivers);
        Self { end, drivers, peer }
    }

    /// How the lane ends after `bytes`, with the socket left open.
    async fn end_after(mut self, bytes: &[u8]) -> Result<(), LaneError> {
        let (mut reader, mut writer) = tokio::io::split(self.peer);
        let mut sink = Vec::new();
        let write = async {
            let _ = writer.write_all(bytes).await;
            std::future::pending::<()>().await;
        };
        let accept = async {
            let mut held = Vec::new();
            while let Some(stream) = self.end.incoming.accept().await {
                held.push(stream);
            }
            std::future::pending::<()>().await;
        };
        let read = async {
            let _ = reader.read_to_end(&mut sink).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            end = self.drivers.join_next() => end.unwrap().unwrap(),
            () = write => unreachable!(),
            () = read => unreachable!(),
            () = accept => unreachable!(),
        }
    }

    /// The next frame that is no ping: its header, past its body.
    async fn read_frame(&mut self) -> [u8; 12] {
        loop {
            let mut header = [0; 12];
            self.peer.read_exact(&mut header).await.unwrap();
            if header[1] == DATA {
                let length = u32::from_be_bytes(header[8..].try_into().unwrap());
                self.peer.read_exact(&mut vec![0; length as usize]).await.unwrap();
            }
            if header[1] != PING || header[3] == ACK {
                return header;
            }
        }
    }
}

async fn assert_protocol_error(bytes: &[u8], named: &str) {
    let end = in_time(Victim::new(&Config::default()).end_after(bytes)).await;
    let Err(LaneError::Protocol(what)) = end else { panic!("{named}: ended with {end:?}") };
    assert!(what.contains(named), "{what:?} does not name {named:?}");
}

#[tokio::test]
async fn violations_end_the_lane_and_are_named() {
    assert_protocol_error(&[9; 12], "unknown version: 9").await;
    assert_protocol_error(&frame(7, 0, 0, 0, &[]), "unknown frame type: 7").await;
    let first = frame(DATA, SYN, 1, (256 << 10) + 1, &vec![0; (256 << 10) + 1]);
    assert_protocol_error(&first, "data SYN on stream 1, length 262145").await;
    assert_protocol_error(&frame(DATA, SYN, 1, (1 << 20) + 1, &[]), "1048577").await;
    assert_protocol_error(&frame(DATA, RST, 1, (1 << 20) + 1, &[]), "1048577").await;
    let mut overrun = frame(DATA, SYN, 1, 256 << 10, &vec![0; 256 << 10]);
    overrun.extend(frame(DATA, 0, 1, 1, &[0]));
    assert_protocol_error(&overrun, "data on stream 1, length 1").await;
    let mut overflow = frame(WINDOW_UPDATE, SYN, 1, 0, &[]);
    overflow.extend(frame(WINDOW_UPDATE, 0, 1, u32::MAX as usize, &[]));
    assert_protocol_error(&overflow, "window update on stream 1, length 4294967295").await;
    let overflow = frame(WINDOW_UPDATE, SYN, 1, u32::MAX as usize, &[]);
    assert_protocol_error(&overflow, "window update SYN on stream 1").await;
    assert_protocol_error(&frame(DATA, SYN, 2, 0, &[]), "data SYN on stream 2").await;
    assert_protocol_error(&frame(DATA, SYN, 1, 0, &[]).repeat(2), "data SYN on stream 1").await;
    assert_protocol_error(&frame(PING, ACK, 0, 77, &[]).repeat(2), "ping ACK on stream 0, length 77").await;
}

#[tokio::test]
async fn a_goodbye_is_no_error_and_an_accusation_is() {
    let ended = Victim::new(&Config::default()).end_after(&frame(GO_AWAY, 0, 0, 0, &[])).await;
    ended.unwrap();
    let ended = Victim::new(&Config::default()).end_after(&frame(GO_AWAY, 0, 0, 1, &[])).await;
    assert!(matches!(ended, Err(LaneError::GoAway(1))), "{ended:?}");
}

#[tokio::test]
async fn the_accused_peer_is_told() {
    let mut victim = Victim::new(&Config::default());
    victim.peer.write_all(&frame(DATA, SYN, 2, 0, &[])).await.unwrap();
    assert_eq!(victim.read_frame().await, *frame(GO_AWAY, 0, 0, 1, &[]));
}

#[tokio::test]
async fn a_reset_in_a_window_update_is_a_reset() {
    for kind in [DATA, WINDOW_UPDATE] {
        let mut victim = Victim::new(&Config::default());
        victim.peer.write_all(&frame(kind, SYN, 1, 0, &[])).await.unwrap();
        let mut stream = victim.end.incoming.accept().await.unwrap();
        victim.peer.write_all(&frame(kind, RST, 1, 0, &[])).await.unwrap();
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn an_end_may_come_with_the_first_frame_or_in_a_window_update() {
    let mut victim = Victim::new(&Config::default());
    victim.peer.write_all(&frame(DATA, SYN | FIN, 1, 3, b"abc")).await.unwrap();
    victim.peer.write_all(&frame(WINDOW_UPDATE, SYN | FIN, 3, 0, &[])).await.unwrap();
    victim.peer.write_all(&frame(WINDOW_UPDATE, SYN, 5, 0, &[])).await.unwrap();
    victim.peer.write_all(&frame(WINDOW_UPDATE, FIN, 5, 0, &[])).await.unwrap();
    for expected in [&b"abc"[..], b"", b""] {
        let mut bytes = Vec::new();
        victim.end.incoming.accept().await.unwrap().read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, expected);
    }
}

#[tokio::test]
async fn a_reset_with_a_body_does_not_derail_the_reader() {
    let mut victim = Victim::new(&Config::default());
    let mut bytes = frame(DATA, SYN, 1, 0, &[]);
    bytes.extend(frame(DATA, RST, 1, 1000, &[9; 1000]));
    bytes.extend(frame(DATA, SYN | FIN, 3, 2, b"ok"));
    victim.peer.write_all(&bytes).await.unwrap();
    let mut reset = victim.end.incoming.accept().await.unwrap();
    assert!(reset.read(&mut [0]).await.is_err());
    let mut bytes = Vec::new();
    victim.end.incoming.accept().await.unwrap().read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"ok");
}

#[tokio::test]
async fn a_ping_never_stops_reading_though_writing_is_blocked() {
    let mut victim = Victim::new(&Config::default());
    victim.peer.write_all(&frame(DATA, SYN, 1, 0, &[])).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(victim.end.incoming.accept().await.unwrap());
    // A whole window that the peer does not read: more than the pipe and the lane hold.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { writer.write_all(&[1; 256 << 10]).await.unwrap() });
    crate::support::until(|| victim.end.activity.bytes_written() >= 64 << 10).await;
    victim.peer.write_all(&frame(PING, SYN, 0, 42, &[])).await.unwrap();
    for _ in 0..50 {
        victim.peer.write_all(&frame(DATA, 0, 1, 3, b"abc")).await.unwrap();
        in_time(reader.read_exact(&mut [0; 3])).await.unwrap();
    }
    let pong = frame(PING, ACK, 0, 42, &[]);
    in_time(async { while victim.read_frame().await != *pong {} }).await;
}

#[tokio::test]
async fn a_flood_of_questions_ends_the_lane() {
    // Nobody reads the answers: they fill the pipe, then the lane's buffers, then its patience.
    let mut victim = Victim::new(&Config::default());
    let pings = frame(PING, SYN, 0, 1, &[]).repeat(100_000);
    let (_unread, mut writer) = tokio::io::split(victim.peer);
    let flood = async {
        let _ = writer.write_all(&pings).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = in_time(victim.drivers.join_next()) => {
            assert!(matches!(end.unwrap().unwrap(), Err(LaneError::Flooded)));
        }
        () = flood => unreachable!(),
    }
}

#[tokio::test]
async fn opens_beyond_the_limit_are_refused_one_by_one() {
    let config = Config { max_streams: 1, ..Config::default() };
    let mut victim = Victim::new(&config);
    let limit = 2 + 64 - 1;
    let mut held = Vec::new();
    for n in 0..limit {
        victim.peer.write_all(&frame(DATA, SYN, 2 * n + 1, 0, &[])).await.unwrap();
        held.push(victim.end.incoming.accept().await.unwrap());
    }
    let refused = 2 * limit + 1;
    victim.peer.write_all(&frame(DATA, SYN, refused, 1000, &[1; 1000])).await.unwrap();
    assert_eq!(victim.read_frame().await, *frame(DATA, RST, refused, 0, &[]));
    held.pop();
    assert_eq!(victim.read_frame().await, *frame(DATA, RST, refused - 2, 0, &[]));
    victim.peer.write_all(&frame(DATA, SYN, refused + 2, 0, &[])).await.unwrap();
    assert!(victim.end.incoming.accept().await.is_some());
}

/// Frames that are plausible enough to reach every corner.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![4 => 0..64usize, 1 => 0..300_000usize];
    let one =
        (0..5u8, 0..16u8, 0..8u32, body, any::<bool>()).prop_map(|(kind, flags, stream, length, whole)| {
            let body = if kind == DATA && whole { vec![7; length] } else { vec![] };
            frame(kind, flags, stream, length, &body)
        });
    proptest::collection::vec(one, 0..40).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_bytes_make_a_lane_panic_or_hang(
        bytes in prop_oneof![plausible(), proptest::collection::vec(any::<u8>(), 0..400)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(in_time(async {
            let Victim { mut end, mut drivers, peer } = Victim::new(&Config { max_streams: 2, ..Config::default() });
            let (mut reader, mut writer) = tokio::io::split(peer);
            let accept = async {
                let mut n = 0;
                while let Some(mut stream) = end.incoming.accept().await {
                    n += 1;
                    match n % 3 {
                        0 => drop(stream),
                        1 => { let _ = stream.shutdown().await; }
                        _ => { let _ = stream.write_all(b"hi").await; }
                    }
                }
            };
            let write = async {
                let _ = writer.write_all(&bytes).await;
                let _ = writer.shutdown().await;
            };
            let mut sink = Vec::new();
            // Its end is whatever it is, but it ends, every stream and the socket with it.
            let (_, _, (), ()) = tokio::join!(
                async { drivers.join_next().await.unwrap().expect("the driver panicked") },
                reader.read_to_end(&mut sink),
                write,
                accept,
            );
            assert_eq!(end.opener.live(), 0);
        }));
    }
}
