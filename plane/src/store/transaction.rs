//! The interface that business rules are written against: all primitives of all entities.
//!
//! Owns nothing but the sums. [`Read`] sees, [`Record`] also writes metrics, [`Change`] also writes
//! what must not be lost. Redb's transactions have them through their rows; a networked store would
//! implement the entities' traits itself.

use super::redb::backup::{ChangeEverything, ReadEverything};
use super::redb::tables::addresses::{ChangeSpans, ReadSpans};
use super::redb::tables::agents::{ReadAgents, RecordAgents};
use super::redb::tables::api_tokens::{ChangeTokens, ReadTokens, RecordTokens};
use super::redb::tables::audit::{ChangeAudit, ReadAudit, RecordAudit};
use super::redb::tables::history::{ReadHistory, RecordHistory};
use super::redb::tables::idempotency::{ChangeAnswers, ReadAnswers, RecordAnswers};
use super::redb::tables::login_penalties::{ChangePenalties, ReadPenalties, RecordPenalties};
use super::redb::tables::peers::{ChangePeers, ReadPeers};
use super::redb::tables::prekeys::{ReadPrekeys, RecordPrekeys};
use super::redb::tables::revisions::{ChangeRevisions, ReadChanges};
use super::redb::tables::servers::{ChangeServers, ReadServers};
use super::redb::tables::users::{ChangeUsers, ReadUsers};

/// Everything that can be read.
pub(crate) trait Read:
    ReadAgents
    + ReadAnswers
    + ReadAudit
    + ReadChanges
    + ReadEverything
    + ReadHistory
    + ReadPeers
    + ReadPenalties
    + ReadPrekeys
    + ReadServers
    + ReadSpans
    + ReadTokens
    + ReadUsers
{
}

impl<T> Read for T where
    T: ReadAgents
        + ReadAnswers
        + ReadAudit
        + ReadChanges
        + ReadEverything
        + ReadHistory
        + ReadPeers
        + ReadPenalties
        + ReadPrekeys
        + ReadServers
        + ReadSpans
        + ReadTokens
        + ReadUsers
{
}

/// Everything that may be lost in a crash.
pub(crate) trait Record:
    Read + RecordAgents + RecordAnswers + RecordAudit + RecordHistory + RecordPenalties + RecordPrekeys + RecordTokens
{
}

impl<T> Record for T where
    T: Read
        + RecordAgents
        + RecordAnswers
        + RecordAudit
        + RecordHistory
        + RecordPenalties
        + RecordPrekeys
        + RecordTokens
{
}

/// Everything.
pub(crate) trait Change:
    Record
    + ChangeAnswers
    + ChangeAudit
    + ChangeEverything
    + ChangePeers
    + ChangePenalties
    + ChangeRevisions
    + ChangeServers
    + ChangeSpans
    + ChangeTokens
    + ChangeUsers
{
}

impl<T> Change for T where
    T: Record
        + ChangeAnswers
        + ChangeAudit
        + ChangeEverything
        + ChangePeers
        + ChangePenalties
        + ChangeRevisions
        + ChangeServers
        + ChangeSpans
        + ChangeTokens
        + ChangeUsers
{
}
