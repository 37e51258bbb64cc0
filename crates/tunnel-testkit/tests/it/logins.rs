//! A right token logs in so often and no more, and nobody is kept out for good by that.

use std::time::Duration;

use tokio::time::timeout;
use tunnel_client::{ClientError, Code, ConnectError, LoginError};
use tunnel_server::Rate;
use tunnel_testkit::Site;

use crate::support::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_too_often_is_told_so_and_no_other_token_is() {
    let mut site = Site::new().unwrap();
    site.config.limits.login_rate_per_token = Some(Rate { count: 2, per: Duration::from_secs(3_600) });
    let _server = site.start(Vec::new()).unwrap();
    let token = site.token("fleet");
    let _first = site.client(&token).connect().await.unwrap();
    let _second = site.client(&token).connect().await.unwrap();
    let refused = site.client(&token).fail_fast(true).connect().await.unwrap_err();
    let ConnectError::Ended(ClientError::Login(login)) = &refused else { panic!("{refused}") };
    let LoginError::Refused(refusal) = &**login else { panic!("{login}") };
    assert_eq!((refusal.code, refusal.is_passing()), (Code::TooManyAttempts, true), "{refusal}");
    let _other = site.client(&site.token("other")).connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_is_larger_than_its_allowance_comes_in_one_after_the_other() {
    let mut site = Site::new().unwrap();
    site.config.limits.login_rate_per_token = Some(Rate { count: 1, per: Duration::from_secs(1) });
    let _server = site.start(Vec::new()).unwrap();
    let token = site.token("fleet");
    let fleet = [(); 3].map(|()| site.client(&token).start().unwrap());
    for machine in &fleet {
        timeout(PATIENCE, machine.connected()).await.unwrap().unwrap();
    }
}
