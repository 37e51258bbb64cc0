//! `tunnel demo`: a server, a client and a small site in one process, to see it work. All of it on loopback.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinSet};
use tunnel_client::{BindError, Client, Token, Upstream};
use tunnel_server::{Config, ControlTls, Hostname, Listener, Server, StoredToken, TokenList};
use tunnel_store::WriteError;
use tunnel_transport::{ControlIdentity, acceptor, generate_self_signed};

use super::{
    Failure,
    client::{Show, follow},
    signals::Signals,
};
use crate::{
    args::{DemoArgs, Output},
    output::{Console, Subject},
    site::Site,
};

/// Where the web is expected; any other port if it is taken.
const WEB_PORT: u16 = 8080;
/// Nobody waits long for a demo to end.
const GRACE: Duration = Duration::from_secs(2);

/// Runs until Ctrl-C.
pub(super) async fn run(args: DemoArgs, console: Console) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut tasks = JoinSet::new();
    let upstream = match args.dir {
        Some(path) => match path.read_dir() {
            Ok(_) => Upstream::directory(path).map_err(BindError::from)?,
            Err(source) => return Err(Failure::Site { path, source }),
        },
        None => {
            let site = Site::open().await.map_err(Failure::Inherit)?;
            let address = site.address().map_err(Failure::Inherit)?;
            tasks.spawn(site.serve());
            address.into()
        }
    };

    let (server, control, token) = server()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = JoinSet::new();
    serving.spawn(server.run(async {
        // Dropped or sent, it means the same.
        let _ = stopped.await;
    }));

    let client = Client::builder(control.to_string()).token(token).report_requests(true).start()?;
    let subject = Subject { upstream: upstream.url(), held: "name", verbose: true };
    let mut show = Show::new(Output::Text, subject, console);
    console.remark("a server, a client and a site in one process; open the address below; Ctrl-C ends it");
    let events = client.events();
    let binding = client.http().subdomain("demo").forward(upstream);
    let end = follow(&client, events, binding, &mut show, &mut signals, GRACE, |_| {}).await;
    show.end(&end);
    if end.is_ok() {
        drop(stop);
        serving.join_next().await;
    }
    end
}

fn server() -> Result<(Server, SocketAddr, Token), Failure> {
    let pair = generate_self_signed(&["localhost".into()])?;
    let identity = ControlIdentity::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes())?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| WriteError::Random(error.into()))?;
    let token = Token::new(random, Some(*identity.pin().as_bytes()));
    let stored = StoredToken::new(token.id(), "demo", token.hash(), Arc::default());

    let domain = Hostname::parse("localhost").expect("invariant: `localhost` is a host name");
    let mut config = Config::new(domain);
    config.bind = Ipv4Addr::LOCALHOST.into();
    config.timeouts.grace = GRACE;
    let control = listen(0)?;
    let control_address = local(&control)?;
    let web = listen(WEB_PORT).or_else(|_| listen(0))?;
    let web_port = local(&web)?.port();
    let mut builder = Server::builder(config)
        .control(control, ControlTls::Tls(acceptor(&identity)?))
        .web(web)
        .authenticator(TokenList(vec![stored]));
    // Browsers try both; without this one the first try may reach another program.
    if let Ok(web) = Listener::bind(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), web_port)) {
        builder = builder.web(web);
    }
    Ok((builder.build()?, control_address, token))
}

fn listen(port: u16) -> Result<Listener, Failure> {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let (whom, flag) = ("the demo", "`tunnel server`");
    Listener::bind(address).map_err(|source| Failure::Listen { address, whom, flag, source })
}

fn local(listener: &Listener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(Failure::Inherit)
}
