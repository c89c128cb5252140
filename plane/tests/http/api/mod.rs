//! The API as its OpenAPI document describes it, and the permission for every operation.

pub(crate) mod matrix;
mod openapi;
