//! Attacks: forged tokens; hostile requests, text and paths; floods; and the limits that contain them.

mod floods;
mod forged;
mod hostile_requests;
mod hostile_text;
mod limits;
mod paths;
