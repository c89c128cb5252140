//! `sentrazone-agent enroll`: turns a token into a host that is ready to run.
//!
//! Owns the check of the token with the plane, the order of the steps and the files that are written. Before the
//! last step that can be refused, it must not write anything except the host's own keys. `adopt` decides what
//! happens to an existing interface.

mod error;
mod inputs;
mod interface;
mod new_host;

use wgctl::client::{PlaneClient, Target};
use wgctl::protocol::v1::Terms;
use zeroize::Zeroizing;

pub use error::Error;
pub use inputs::Enrollment;

use super::adopt;
use super::adopt::EnrollmentDecision;
use super::wg_quick_file::Import;
use crate::config::Config;
use crate::{cache, config, secrets};
use inputs::{absolute, configuration, read_token};
use interface::read_interface;
use new_host::NewHost;

/// Enrolls this host. Returns the next steps for the user or, with `dry_run`, the plan.
pub async fn enroll(mut enrollment: Enrollment) -> Result<String, Error> {
    enrollment.config = absolute(&enrollment.config);
    let import = enrollment.import.as_deref().map(Import::read).transpose()?;
    let config = configuration(&enrollment)?;
    let token = read_token(&enrollment.token_file)?;
    let ours = cache::load(&config.state_dir)?.map(|state| state.server_id);
    let (client, terms) = ask(&config, &token).await?;
    if let Some(ours) = ours.filter(|ours| *ours != terms.server_id) {
        return Err(Error::AnotherServer {
            theirs: terms.server_id,
            ours,
            folder: config.state_dir,
        });
    }
    let own = secrets::own_key(&config.state_dir)?;
    let device = read_interface(config.backend, &terms, import.is_some()).await?;
    let host = NewHost {
        path: &enrollment.config,
        dry_run: enrollment.dry_run,
        now: enrollment.clock.now(),
        config: &config,
        token: &token,
        client: &client,
        terms: &terms,
        import: import.as_ref(),
    };
    match adopt::course(&terms, own.as_ref(), device.clone(), import.as_ref())? {
        EnrollmentDecision::AsRecorded => host.become_recorded(own.as_ref(), device).await,
        EnrollmentDecision::Adopt(found) => host.adopt(&found).await,
    }
}

/// Asks the planes in turn for the terms of the enrolment. Returns the first terms received.
async fn ask(config: &Config, token: &Zeroizing<String>) -> Result<(PlaneClient, Terms), Error> {
    let trust = config.trust()?;
    let mut outcome = Err(Error::Config(config::Error::Value {
        key: "plane",
        message: "name at least one plane with --plane".to_owned(),
    }));
    for url in &config.plane {
        let client = PlaneClient::trusting(Target::Url(url.clone()), &trust)?.with_token(token.clone());
        match client.terms().await {
            Ok(terms) => return Ok((client, terms)),
            Err(error) if error.code() == Some("unauthorized") => {
                outcome = Err(Error::Token(client.target().clone()));
            }
            Err(error) => outcome = Err(error.into()),
        }
    }
    outcome
}
