//! How many connections one visitor address may have, whatever they are to. Loopback isn't counted, so the visitors
//! here come through a load balancer, which says who they are.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tunnel_server::WebCertificate;
use tunnel_testkit::{Answer, Site, Upstream, Visitor, header};
use tunnel_transport::generate_self_signed;

use crate::support::{PATIENCE, port, until};

const ONE: &str = "PROXY TCP4 192.0.2.1 198.51.100.1 4000 80\r\n";
const OTHER: &str = "PROXY TCP4 192.0.2.2 198.51.100.1 4000 80\r\n";

/// A connection of the TCP tunnel that has been served.
async fn echoed(port: u16, greeting: &str) -> Option<TcpStream> {
    let mut visitor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    visitor.write_all(format!("{greeting}hello").as_bytes()).await.unwrap();
    let mut heard = [0; 5];
    let heard = timeout(PATIENCE, visitor.read_exact(&mut heard)).await.expect("served or refused at once");
    heard.is_ok().then_some(visitor)
}

async fn ask(web: SocketAddr, greeting: &str) -> (Answer, Visitor<TcpStream>) {
    let mut visitor = Visitor::connect(web).await.unwrap();
    visitor.send(format!("{greeting}GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")).await.unwrap();
    (timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap(), visitor)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_on_all_ports_together() {
    let mut site = Site::new().unwrap();
    let keys = generate_self_signed(&["app.test".to_owned()]).unwrap();
    let certificate = WebCertificate::from_pem(keys.cert_pem.as_bytes(), keys.key_pem.as_bytes()).unwrap();
    site.open_https(&[certificate]).unwrap();
    site.config.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
    site.config.limits.connections_per_address = 2;
    let server = site.start(Vec::new()).unwrap();
    let client = site.client(&site.token("one")).connect().await.unwrap();
    let (hello, echo) = (Upstream::hello("one").await.unwrap(), Upstream::echo().await.unwrap());
    let _app = client.http().subdomain("app").forward(hello.target()).await.unwrap();
    let tcp = client.tcp().forward(echo.target()).await.unwrap();

    let on_tcp = echoed(port(&tcp), ONE).await.expect("the first is served");
    let (answer, _on_web) = ask(site.web_address(), ONE).await;
    assert_eq!(answer.status, 200);

    let (answer, _refused) = ask(site.web_address(), ONE).await;
    assert_eq!((answer.status, header(&answer.head, "tunnel-error")), (503, Some("too-many-visitors")));
    assert!(echoed(port(&tcp), ONE).await.is_none());
    let mut on_https = TcpStream::connect(site.https_address()).await.unwrap();
    on_https.write_all(ONE.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let _reset = timeout(PATIENCE, on_https.read_to_end(&mut heard)).await.expect("it is closed");
    let now = server.handle.snapshot();
    assert_eq!((heard.len(), now.tls_failures), (0, 0), "before TLS, not for want of it");

    let (answer, _other) = ask(site.web_address(), OTHER).await;
    assert_eq!(answer.status, 200, "one keeps no other out");
    drop(on_tcp);
    until(&server.handle, |now| now.tunnels.iter().all(|tunnel| tunnel.visitors == 0)).await;
    let again = async {
        while ask(site.web_address(), ONE).await.0.status != 200 {
            // sleep: polling; the place is given back after the visitor's other counts
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("the place is given back");
}
