//! Servers and their peers, reports from agents, adoption, backups and the audit log.

mod adoption;
mod audit_log;
mod backup;
mod peers;
mod reports;
mod servers;
