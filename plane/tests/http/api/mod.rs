//! The API as its OpenAPI document describes it, and the permission of every operation.

pub(crate) mod matrix;
mod openapi;
