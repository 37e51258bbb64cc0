//! HTTP/2 from visitors, and towards an upstream that speaks it.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use h2::{RecvStream, client, server};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{net::TcpStream, task::JoinSet};
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{Fault, Laptop, Online, Outcome, Told, Vps, World, check, within};

super::scenarios! {
    "--upstream-protocol h2c carries HTTP/2 from end to end, and without it an HTTP/2 service is an error that names it" => speaks,
}

async fn speaks(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let service = Upstream::start(echo).await?;
    let plain = Upstream::hello("plain").await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    let mut with =
        laptop.start("http", service.address(), &["--subdomain", "calls", "--upstream-protocol", "h2c"])?;
    let calls = Online::wait(&mut with, 0).await?;
    let (_without, flagless) = laptop.http(service.address(), "flagless").await?;
    let (_plain, page) = laptop.http(plain.address(), "plain").await?;

    let mut moving = JoinSet::new();
    let socket = TcpStream::connect(vps.web()).await?;
    let (mut visitor, connection) = client::handshake(socket).await.told("HTTP/2 with the server")?;
    moving.spawn(async move { drop(connection.await) });

    let (answer, trailers) = call(&mut visitor, calls.host(), "hello").await?;
    check!(
        answer == "hello" && trailers.get("is") == Some(&HeaderValue::from_static("whole")),
        "a call: {answer}"
    );
    let (answer, _) = call(&mut visitor, page.host(), "").await?;
    check!(answer.starts_with("plain"), "a page over HTTP/2: {answer}");
    let (answer, _) = call(&mut visitor, flagless.host(), "hello").await?;
    check!(answer.contains("--upstream-protocol h2c"), "the error doesn't name the flag: {answer}");
    let answer = within("a page", Visitor::get(vps.web(), calls.host(), "/")).await??;
    check!(answer.status == 200, "an HTTP/1.1 visitor of it gets {}", answer.status);
    Ok("calls with trailers, pages, and an error that says what to do".into())
}

async fn call(
    visitor: &mut client::SendRequest<Bytes>,
    host: &str,
    said: &'static str,
) -> Outcome<(String, HeaderMap)> {
    within("a call", poll_fn(|cx| visitor.poll_ready(cx))).await?.told("the connection")?;
    let request = Request::post(format!("http://{host}/")).body(()).told("a request")?;
    let (answer, mut to) = visitor.send_request(request, false).told("asking")?;
    to.send_data(said.into(), true).told("sending")?;
    let mut body = within("an answer", answer).await?.told("an answer")?.into_body();
    let mut whole = Vec::new();
    while let Some(data) = within("more of it", body.data()).await? {
        let data = data.told("the answer's body")?;
        body.flow_control().release_capacity(data.len()).told("reading")?;
        whole.extend_from_slice(&data);
    }
    let trailers = within("trailers", trailers(&mut body)).await??;
    Ok((String::from_utf8_lossy(&whole).into_owned(), trailers))
}

async fn trailers(body: &mut RecvStream) -> Result<HeaderMap, Fault> {
    Ok(body.trailers().await.told("trailers")?.unwrap_or_default())
}

/// Answers every request with what came in it, and with trailers.
async fn echo(stream: TcpStream) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    let mut answers = JoinSet::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        answers.spawn(async move {
            let Ok(mut to) = respond.send_response(Response::new(()), false) else { return };
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                // The visitor sees what went wrong by an answer that is missing.
                let _ = body.flow_control().release_capacity(data.len());
                let _ = to.send_data(data, false);
            }
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static("is"),
                HeaderValue::from_static("whole"),
            )]);
            let _ = to.send_trailers(trailers);
        });
    }
}
