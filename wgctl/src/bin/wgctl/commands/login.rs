//! `login` and `logout`.
//!
//! Owns the exchange of a password for a token. It must not store the password, which is read from the
//! terminal or stdin and then wiped. The token is stored as part of the login.

use clap::Args;
use serde_json::json;
use url::Url;
use wgctl::api::{self, base_url};
use wgctl::client::{PlaneClient, Target};
use zeroize::{Zeroize as _, Zeroizing};

use crate::connection::Options;
use crate::connection::credentials::{self, Credentials};
use crate::failure::Failure;
use crate::terminal::output::Output;
use crate::terminal::prompt;

#[derive(Args)]
pub(crate) struct Login {
    /// The URL of the plane
    #[arg(value_name = "URL", value_parser = base_url)]
    url: Url,
    /// The email to log in with; prompted for if omitted
    #[arg(long)]
    email: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long, requires = "email")]
    password_stdin: bool,
}

impl Login {
    pub(crate) async fn run(self, options: &Options, out: &Output) -> Result<(), Failure> {
        let path = credentials::path()?;
        // A repeated login keeps the previous trust anchor. A stored login that is unreadable is replaced.
        let before = credentials::load(&path)
            .ok()
            .flatten()
            .filter(|login| login.url == self.url);
        let anchor = match &before {
            Some(login) => options.anchor().or(login.anchor()),
            None => options.anchor(),
        };
        let client = options.client(Target::Url(self.url.clone()), &anchor, true)?;
        let email = match self.email {
            Some(email) => email,
            None => prompt::line("Email: ", "--email with --password-stdin")?,
        };
        let password = prompt::password("Password: ", self.password_stdin)?;
        let mut login = api::Login {
            email,
            password: password.to_string(),
        };
        let answer = client.login(&login).await;
        login.password.zeroize();
        let api::Session { token, expires_at } = answer?;
        let ca_file = anchor.ca_file.as_ref().map(std::path::absolute).transpose();
        let ca_file = ca_file.map_err(|error| Failure::Local(format!("cannot find --ca-file: {error}")))?;
        credentials::store(
            &path,
            &Credentials {
                url: self.url.clone(),
                token,
                expires_at,
                ca_file,
                pin: anchor.pin,
            },
        )?;
        let answer = json!({"url": self.url, "email": login.email, "expires_at": expires_at});
        out.answer(&answer, || {
            format!("Logged in to {} as {} until {expires_at}.\n", self.url, login.email)
        })
    }
}

pub(crate) async fn logout(out: &Output) -> Result<(), Failure> {
    let path = credentials::path()?;
    let Some(login) = credentials::load(&path)? else {
        return out.done("Not logged in.\n");
    };
    credentials::remove(&path)?;
    match end(&login).await {
        // A plane that rejects the token has already ended the login, which is the desired result.
        Ok(()) => out.done(&format!("Logged out of {}.\n", login.url)),
        Err(Failure::Call(error)) if error.status() == Some(401) => {
            out.done(&format!("Logged out of {}.\n", login.url))
        }
        Err(failure) => Err(Failure::Local(format!(
            "the login was removed here, but not on the plane ({failure}): its token remains valid until {}",
            login.expires_at
        ))),
    }
}

/// Ends the login on the plane.
async fn end(login: &Credentials) -> Result<(), Failure> {
    let client = PlaneClient::trusting(Target::Url(login.url.clone()), &login.anchor().trust()?)?;
    Ok(client.with_token(Zeroizing::new(login.token.clone())).logout().await?)
}
