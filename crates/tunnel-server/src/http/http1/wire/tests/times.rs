//! How long a visitor may take, and what is done for one that is still sending.

use super::*;

#[tokio::test(start_paused = true)]
async fn who_was_heard_out_has_the_same_times() {
    let asks = head("/", "Content-Length: 3\r\n");
    for (ahead, then, patience) in [
        ("abc", "", PATIENCE.idle),
        ("abcGET", "", PATIENCE.head),
        ("", "abc", PATIENCE.idle),
        ("", "abcGET", PATIENCE.head),
        ("a", "bcGET", PATIENCE.head),
    ] {
        let (mut server, mut far) = connect(4096);
        far.write_all(format!("{asks}{ahead}").as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        drop(server.body(&asked));
        far.write_all(then.as_bytes()).await.unwrap();
        assert!(hear_out(&server.wire).await);
        server.wire.await_head();
        let start = Instant::now();
        assert_eq!(server.next().await.is_none(), patience == PATIENCE.idle);
        assert_eq!(start.elapsed(), patience, "{ahead:?} {then:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_request_is_heard_out_if_it_is_short() {
    for (framing, sent, is_next) in [
        ("Content-Length: 100000\r\n", "x".repeat(100_000), true),
        ("Content-Length: 100000\r\n", "x".repeat(99_999), false),
        ("Content-Length: 1000000\r\n", "x".repeat(1_000_000), false),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n".into(), true),
        ("Transfer-Encoding: chunked\r\n", format!("f0000\r\n{}", "x".repeat(0xf0000)), false),
        ("Content-Length: 3\r\nExpect: 100-continue\r\n", String::new(), false),
        ("Content-Length: 3\r\nExpect: 100-continue\r\n", "abc".into(), true),
    ] {
        let (mut server, mut far) = connect(1 << 21);
        let next = if is_next { head("/next", "") } else { String::new() };
        far.write_all(format!("{}{sent}{next}", head("/", framing)).as_bytes()).await.unwrap();
        let asked = server.next().await.unwrap().unwrap();
        drop(server.body(&asked));
        server.wire.begin_answer();
        let may_go_on = server.wire.may_go_on(false);
        assert!(may_go_on || !is_next, "{framing}");
        let is_settled = hear_out(&server.wire).await;
        assert_eq!(is_settled, is_next, "{framing}");
        if is_next {
            server.wire.await_head();
            assert_eq!(server.next().await.unwrap().unwrap().request.uri().path(), "/next");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_visitor_that_says_nothing_is_let_go_silently() {
    let (mut server, _far) = connect(4096);
    let start = Instant::now();
    assert!(server.next().await.is_none());
    assert_eq!(start.elapsed(), PATIENCE.head);
}

#[tokio::test(start_paused = true)]
async fn between_requests_a_visitor_may_rest_for_a_while() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "").as_bytes()).await.unwrap();
    server.next().await.unwrap().unwrap();
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert!(server.is_there().await, "an answer may take as long as it likes");
    server.wire.await_head();
    let start = Instant::now();
    assert!(server.next().await.is_none());
    assert_eq!(start.elapsed(), PATIENCE.idle);
}

#[tokio::test(start_paused = true)]
async fn a_head_has_a_time_from_its_first_byte() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "").as_bytes()).await.unwrap();
    server.next().await.unwrap().unwrap();
    server.wire.await_head();
    let start = Instant::now();
    let drip = async {
        // sleep: the clock is paused, this is what moves it
        tokio::time::sleep(Duration::from_secs(70)).await;
        for byte in head("/slow", "").bytes() {
            // sleep: the clock is paused, this is what moves it
            tokio::time::sleep(Duration::from_secs(1)).await;
            far.write_all(&[byte]).await.unwrap();
        }
    };
    let next = server.next();
    let came = tokio::select! { came = next => came, () = drip => panic!("a slow head passed") };
    assert_eq!(came.unwrap().unwrap_err().code, Code::RequestTimeout);
    assert_eq!(start.elapsed(), Duration::from_secs(71) + PATIENCE.head);
}

#[tokio::test(start_paused = true)]
async fn a_body_must_get_on_and_so_must_the_answer() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "Content-Length: 9\r\n").as_bytes()).await.unwrap();
    far.write_all(b"some").await.unwrap();
    let asked = server.next().await.unwrap().unwrap();
    let start = Instant::now();
    let error = whole(server.body(&asked).unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, PATIENCE.stall));
    assert!(!server.wire.may_go_on(false), "its rest is not waited for");
    let start = Instant::now();
    let error = server.write(&[0; 10_000]).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, PATIENCE.stall));
}

#[tokio::test(start_paused = true)]
async fn closing_hears_out_a_visitor_that_is_still_sending() {
    let (mut server, mut far) = connect(4096);
    far.write_all(head("/", "Content-Length: 99999\r\n").as_bytes()).await.unwrap();
    server.next().await.unwrap().unwrap();
    let send = async {
        far.write_all(&[0; 50_000]).await.unwrap();
        assert_eq!(far.read(&mut [0; 9]).await.unwrap(), 0, "the end is there all the while");
        Instant::now()
    };
    let (closed, sent) = tokio::join!(server.wire.close(false), send);
    closed.unwrap();
    assert_eq!(sent.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_at_rest_is_closed_at_once() {
    let (server, _far) = connect(4096);
    let start = Instant::now();
    server.wire.close(true).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}
