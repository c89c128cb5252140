//! The versioned messages between the plane and the agent.
//!
//! Owns the wire types and the paths. Plane and agent communicate only through these. A released version is
//! frozen: a later change adds optional fields or a new version, and the `compatibility` tests check stored
//! JSON of every version. It must not contain state or I/O.

pub mod v1;

/// Paths of the agent endpoints, all authenticated by the agent's own token.
pub mod path {
    /// `POST`: [`super::v1::Hello`] → [`super::v1::Welcome`], the first request after connecting.
    pub const HELLO: &str = "/api/agent/hello";
    /// `GET ?revision=&incarnation=&wait=`: the long poll → [`super::v1::Desired`].
    pub const DESIRED: &str = "/api/agent/desired";
    /// `GET` → [`super::v1::Terms`]; `POST ?dry_run=`: [`super::v1::Adoption`] → [`super::v1::Adopted`].
    pub const ADOPTION: &str = "/api/agent/adoption";
    /// `POST`: [`super::v1::Applied`].
    pub const APPLIED: &str = "/api/agent/applied";
    /// `POST`: [`super::v1::DriftReport`].
    pub const DRIFT: &str = "/api/agent/drift";
    /// `POST`: [`super::v1::Prekeys`].
    pub const PREKEYS: &str = "/api/agent/prekeys";
    /// `POST …/{request}`: [`super::v1::Reply`].
    pub const REPLIES: &str = "/api/agent/replies";
    /// `POST`: [`crate::api::Report`], as in the original API.
    pub const REPORT: &str = "/api/report";
}
