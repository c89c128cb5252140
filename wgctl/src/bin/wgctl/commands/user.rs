//! `user`: the people who may log in.
//!
//! Owns the messages of these commands. It must not read passwords except through `prompt`.

use clap::{Args, Subcommand, ValueEnum};
use wgctl::api::{NewUser, PasswordChange, Role, User, UserPatch};
use wgctl::client::PlaneClient;
use wgctl::name::Email;
use zeroize::Zeroize as _;

use crate::failure::Failure;
use crate::terminal::output::Output;
use crate::terminal::prompt;
use crate::terminal::table::{Table, Tone};
use crate::terminal::text::ago;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a person who may log in
    Add(Add),
    /// Show all people
    List,
    /// Set a person's role; their sessions end at once
    Set(Set),
    /// Set a person's password, or your own
    Passwd(Passwd),
    /// Allow a person to log in again
    Enable(Who),
    /// Stop a person from logging in; their sessions end at once
    Disable(Who),
    /// Remove a person
    Remove(Who),
}

#[derive(Args)]
pub(crate) struct Add {
    /// The email that the person logs in with
    email: Email,
    /// The role of the person
    #[arg(long, value_enum, required_unless_present = "admin")]
    role: Option<RoleName>,
    /// The same as --role admin
    #[arg(long, conflicts_with = "role")]
    admin: bool,
    /// Read the password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Args)]
pub(crate) struct Set {
    /// The person
    email: Email,
    /// The role of the person
    #[arg(long, value_enum)]
    role: RoleName,
}

#[derive(Args)]
pub(crate) struct Passwd {
    /// The person [default: yourself]
    email: Option<Email>,
    /// Read the password from stdin; for your own, the current one on the first line and the new one on the second
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Args)]
pub(crate) struct Who {
    /// The person
    email: Email,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    /// May do everything
    Admin,
    /// May view servers, statuses and history
    Viewer,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Viewer => Self::Viewer,
        }
    }
}

impl Command {
    pub(crate) async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        match self {
            Self::Add(add) => add.run(plane, out).await,
            Self::List => list(plane, out).await,
            Self::Set(set) => set.run(plane, out).await,
            Self::Passwd(passwd) => passwd.run(plane, out).await,
            Self::Enable(who) => switch(plane, out, &who.email, true).await,
            Self::Disable(who) => switch(plane, out, &who.email, false).await,
            Self::Remove(who) => {
                plane.remove_user(find(plane, &who.email).await?.id).await?;
                out.done(&format!("{} has been removed.\n", who.email))
            }
        }
    }
}

impl Add {
    async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let role = self.role.map_or(Role::Admin, Role::from);
        let password = prompt::new_password(self.password_stdin)?;
        let mut new = NewUser {
            email: self.email,
            password: password.to_string(),
            role,
        };
        let answer = plane.create_user(&new, None).await;
        new.password.zeroize();
        let user = answer?;
        out.answer(&user, || {
            format!("{} may log in as {}.\n", user.email, role_name(user.role))
        })
    }
}

impl Set {
    async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let patch = UserPatch {
            role: Some(self.role.into()),
            ..UserPatch::default()
        };
        let id = find(plane, &self.email).await?.id;
        let user = plane.update_user(id, &patch).await?;
        out.answer(&user, || {
            format!(
                "{} now has the role {}; existing sessions have been ended.\n",
                user.email,
                role_name(user.role)
            )
        })
    }
}

impl Passwd {
    async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let Some(email) = self.email else {
            return own_password(plane, out, self.password_stdin).await;
        };
        let user = find(plane, &email).await?;
        let password = prompt::new_password(self.password_stdin)?;
        let mut patch = UserPatch {
            password: Some(password.to_string()),
            ..UserPatch::default()
        };
        let answer = plane.update_user(user.id, &patch).await;
        patch.password.zeroize();
        let user = answer?;
        out.answer(&user, || {
            format!(
                "{} has a new password; existing sessions have been ended.\n",
                user.email
            )
        })
    }
}

async fn own_password(plane: &PlaneClient, out: &Output, from_stdin: bool) -> Result<(), Failure> {
    let current = prompt::password("Current password: ", from_stdin)?;
    let new = prompt::new_password(from_stdin)?;
    let mut change = PasswordChange {
        current_password: current.to_string(),
        new_password: new.to_string(),
    };
    let answer = plane.change_password(&change).await;
    change.current_password.zeroize();
    change.new_password.zeroize();
    answer?;
    out.done("Your password has been changed; existing sessions have been ended.\n")
}

async fn switch(plane: &PlaneClient, out: &Output, email: &Email, enabled: bool) -> Result<(), Failure> {
    let id = find(plane, email).await?.id;
    let user = plane
        .update_user(
            id,
            &UserPatch {
                enabled: Some(enabled),
                ..UserPatch::default()
            },
        )
        .await?;
    let words = if user.enabled {
        "may log in"
    } else {
        "may no longer log in, and their sessions have been ended"
    };
    out.answer(&user, || format!("{} {words}.\n", user.email))
}

async fn list(plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
    let users = plane.users().await?;
    let now = out.now();
    out.answer(&users, || {
        let mut table = Table::new(&["EMAIL", "ROLE", "STATE", "LAST LOGIN", "ID"]);
        for user in &users {
            let (tone, state) = if user.enabled {
                (Tone::Plain, "enabled")
            } else {
                (Tone::Quiet, "disabled")
            };
            let cells = [
                user.email.as_str(),
                role_name(user.role),
                state,
                &ago(user.last_login_at, now),
                &user.id.to_string(),
            ];
            table.row(tone, cells);
        }
        out.table(table)
    })
}

async fn find(plane: &PlaneClient, email: &Email) -> Result<User, Failure> {
    let found = plane.users().await?.into_iter().find(|user| user.email == *email);
    found.ok_or_else(|| Failure::NotFound(format!("there is no user {email}: see `wgctl user list`")))
}

pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Viewer => "viewer",
    }
}
