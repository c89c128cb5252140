//! The interface that business rules are written against: all primitives of all entities.
//!
//! Owns nothing but the sums. [`Read`] sees, [`Record`] also writes metrics, [`Change`] also writes
//! what must not be lost. Redb's transactions have them through their rows; a networked store would
//! implement the entities' traits itself.

use super::agents::{ReadAgents, RecordAgents};
use super::answers::{ChangeAnswers, ReadAnswers, RecordAnswers};
use super::audit::{ChangeAudit, ReadAudit, RecordAudit};
use super::backup::{ChangeEverything, ReadEverything};
use super::changes::{ChangeRevisions, ReadChanges};
use super::history::{ReadHistory, RecordHistory};
use super::peers::{ChangePeers, ReadPeers};
use super::penalties::{ChangePenalties, ReadPenalties, RecordPenalties};
use super::prekeys::{ReadPrekeys, RecordPrekeys};
use super::servers::{ChangeServers, ReadServers};
use super::spans::{ChangeSpans, ReadSpans};
use super::tokens::{ChangeTokens, ReadTokens, RecordTokens};
use super::users::{ChangeUsers, ReadUsers};

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
