//! The table of routes: a route and its description are one entry.
//!
//! Guarantees that every served route is described: a route can be added only together with its description.

use axum::Router;
use axum::routing::{MethodFilter, on};

use super::operation::Operation;
use super::parts::Endpoint;
use crate::http::app::App;

/// The routes that have been added so far, with their descriptions.
pub(in crate::http) struct Table {
    router: Router<App>,
    operations: Vec<Operation>,
    tag: &'static str,
}

impl Table {
    pub(in crate::http) fn new() -> Self {
        Self {
            router: Router::new(),
            operations: Vec::new(),
            tag: "",
        }
    }

    /// Sets the tag of the following routes.
    pub(in crate::http) fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    pub(in crate::http) fn get<H: Endpoint<T>, T: 'static>(self, path: &str, handler: H, about: Operation) -> Self {
        self.route(("get", MethodFilter::GET), path, handler, about)
    }

    pub(in crate::http) fn post<H: Endpoint<T>, T: 'static>(self, path: &str, handler: H, about: Operation) -> Self {
        self.route(("post", MethodFilter::POST), path, handler, about)
    }

    pub(in crate::http) fn patch<H: Endpoint<T>, T: 'static>(self, path: &str, handler: H, about: Operation) -> Self {
        self.route(("patch", MethodFilter::PATCH), path, handler, about)
    }

    pub(in crate::http) fn delete<H: Endpoint<T>, T: 'static>(self, path: &str, handler: H, about: Operation) -> Self {
        self.route(("delete", MethodFilter::DELETE), path, handler, about)
    }

    fn route<H: Endpoint<T>, T: 'static>(
        mut self,
        (method, filter): (&'static str, MethodFilter),
        path: &str,
        handler: H,
        about: Operation,
    ) -> Self {
        let mut operation = about.at(method, path, self.tag);
        H::describe(&mut operation);
        self.operations.push(operation);
        self.router = self.router.route(path, on(filter, handler));
        self
    }

    pub(in crate::http) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    pub(in crate::http) fn into_router(self) -> Router<App> {
        self.router
    }
}
