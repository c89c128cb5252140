//! The client that was written from the API reference alone (`tests/reference_client.py`).
//!
//! Owns its command line. The tests judge its output.

use std::path::Path;

use wgctl::api::{NewUser, Role};
use wgctl::client::PlaneClient;

const EMAIL: &str = "ops@example.com";
const PASSWORD: &str = "correct horse battery staple";

/// Creates the admin whose account the client uses. Returns the client's command line for the plane at
/// `url`, the server `server` and its agent's token. Secrets are written to files in `folder`.
pub async fn command(admin: &PlaneClient, url: &str, server: &str, agent_token: &str, folder: &Path) -> Vec<String> {
    let new = NewUser {
        email: EMAIL.parse().expect("an email"),
        password: PASSWORD.to_owned(),
        role: Role::Admin,
    };
    admin.create_user(&new, None).await.expect("a user");
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).expect("a file");
        path.display().to_string()
    };
    let (password, token) = (file("password", PASSWORD), file("agent-token", agent_token));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/reference_client.py");
    let words = [
        "python3",
        script,
        "--url",
        url,
        "--email",
        EMAIL,
        "--password-file",
        &password,
        "--server",
        server,
        "--agent-token-file",
        &token,
    ];
    words.map(str::to_owned).into()
}
