//! Heads as they leave, for every kind of answer and visitor.

use ::http::Response;

use super::*;

const NEW: Terms =
    Terms { version: Version::Http11, is_head: false, keep_alive: true, takes_trailers: false };
const OLD: Terms = Terms { version: Version::Http10, keep_alive: false, ..NEW };

/// The head of an answer with these fields and a body of that length, its date apart; and how it is sent.
fn head(status: u16, fields: &[(&str, &str)], length: Option<u64>, terms: Terms) -> (String, Plan) {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let (head, ()) = response.body(()).unwrap().into_parts();
    let plan = Plan::new(&head, length, terms, true);
    let mut out = BytesMut::new();
    plan.write(&head, length, terms, &mut out);
    let text = String::from_utf8(out.to_vec()).unwrap();
    let lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
    let kept: Vec<_> = lines.filter(|line| !line.starts_with("date: ")).collect();
    assert_eq!(text.matches("date: ").count(), 1, "{text}");
    (kept.join("|"), plan)
}

#[test]
fn every_answer_says_where_it_ends() {
    let whole = [("content-length", "3")];
    for (status, fields, length, terms, wanted) in [
        (200, &[][..], Some(3), NEW, "HTTP/1.1 200 OK|content-length: 3"),
        (200, &whole, Some(3), NEW, "HTTP/1.1 200 OK|content-length: 3"),
        (200, &[], Some(0), NEW, "HTTP/1.1 200 OK|content-length: 0"),
        (200, &[], None, NEW, "HTTP/1.1 200 OK|transfer-encoding: chunked"),
        (200, &[], Some(3), OLD, "HTTP/1.0 200 OK|content-length: 3"),
        (200, &[], None, OLD, "HTTP/1.0 200 OK"),
        (
            200,
            &[],
            Some(3),
            Terms { keep_alive: true, ..OLD },
            "HTTP/1.0 200 OK|content-length: 3|connection: keep-alive",
        ),
        (200, &[], None, Terms { keep_alive: true, ..OLD }, "HTTP/1.0 200 OK"),
        (200, &whole, Some(0), Terms { is_head: true, ..NEW }, "HTTP/1.1 200 OK|content-length: 3"),
        (404, &[], Some(5), Terms { is_head: true, ..NEW }, "HTTP/1.1 404 Not Found|content-length: 5"),
        (200, &[], Some(0), Terms { is_head: true, ..NEW }, "HTTP/1.1 200 OK"),
        (204, &[], Some(0), NEW, "HTTP/1.1 204 No Content"),
        (304, &whole, Some(0), NEW, "HTTP/1.1 304 Not Modified|content-length: 3"),
        (599, &[], Some(0), NEW, "HTTP/1.1 599 |content-length: 0"),
        (
            101,
            &[("connection", "upgrade"), ("upgrade", "x")],
            Some(0),
            NEW,
            "HTTP/1.1 101 Switching Protocols|connection: upgrade|upgrade: x",
        ),
    ] {
        assert_eq!(head(status, fields, length, terms).0, wanted);
    }
}

#[test]
fn an_answer_is_the_last_if_either_side_says_so() {
    let says = [("connection", "close")];
    for (fields, terms, wanted, is_last) in [
        (&[][..], NEW, "HTTP/1.1 200 OK|content-length: 0", false),
        (&says, NEW, "HTTP/1.1 200 OK|content-length: 0|connection: close", true),
        (
            &[],
            Terms { keep_alive: false, ..NEW },
            "HTTP/1.1 200 OK|content-length: 0|connection: close",
            true,
        ),
        (&says, Terms { keep_alive: true, ..OLD }, "HTTP/1.0 200 OK|content-length: 0", true),
    ] {
        let (head, plan) = head(200, fields, Some(0), terms);
        assert_eq!((head.as_str(), plan.keep_alive), (wanted, !is_last));
    }
}

#[test]
fn a_date_of_the_upstreams_stays() {
    let date = "Thu, 01 Jan 1970 00:00:00 GMT";
    let (head, ()) = Response::builder().header("date", date).body(()).unwrap().into_parts();
    let mut out = BytesMut::new();
    Plan::new(&head, Some(0), NEW, true).write(&head, Some(0), NEW, &mut out);
    let text = str::from_utf8(&out).unwrap();
    assert!(text.contains(date) && text.matches("date: ").count() == 1, "{text}");
}

#[test]
fn trailers_are_for_those_that_read_them_and_were_told() {
    let announced = [("trailer", "x-sum, content-length, X-More")];
    for (takes_trailers, wanted) in [(true, &["x-sum", "x-more"][..]), (false, &[])] {
        let (_, plan) = head(200, &announced, None, Terms { takes_trailers, ..NEW });
        let Framing::Chunked(may_come) = plan.framing else { panic!("{plan:?}") };
        assert_eq!(may_come, wanted);
    }
}
