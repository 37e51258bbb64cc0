//! `tunnel login`: try the token, then save it for later commands.

use std::time::Duration;

use super::{Failure, client::builder};
use crate::{output::Console, resolve::client::LoginPlan, state::logins::Logins};

/// How long the server may take to answer a login: longer than one dial's own limit, so that its reason is told.
const PATIENCE: Duration = Duration::from_secs(15);

/// Saves a server and its token, once the server has taken it.
pub(super) async fn run(plan: LoginPlan, console: Console) -> Result<(), Failure> {
    for warning in &plan.warnings {
        console.warning(warning);
    }
    let server = plan.save.server.clone();
    let mut account = String::new();
    if plan.check {
        let client = builder(&plan.target, Some(&plan.state), console)
            .fail_fast(true)
            .connect_timeout(PATIENCE)
            .connect()
            .await?;
        if let Some(session) = client.status().session {
            account = format!(" as `{}`", session.account);
        }
        client.drain(Duration::ZERO).await;
    }
    let path = Logins::remember(&plan.state, plan.save)?;
    console.line(&format!("logged in to {server}{account}; saved in {}", path.display()));
    console.remark("next: tunnel http 3000");
    Ok(())
}
