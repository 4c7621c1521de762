//! Stand-ins for a build without export over OTLP: types of the same names that have no values.

use std::io;

use http::{HeaderValue, StatusCode};

use super::{Parent, Request};
use crate::config;
use crate::dialect::Dialect;
use crate::end::End;
use crate::metrics::Metrics;
use crate::stream::pump::Report;

/// The trace exporter, which does not exist in this build.
#[derive(Debug)]
pub enum Traces {}

/// A span, which does not exist in this build.
#[derive(Debug)]
pub enum Span {}

/// The exporter of metrics, which does not exist in this build.
#[derive(Debug)]
pub enum MetricsExport {}

/// The last export of metrics, which does not exist in this build.
#[derive(Debug)]
pub enum LastExport {}

impl MetricsExport {
    /// Returns `None`: the configuration rejects the export in this build.
    ///
    /// # Errors
    /// Never.
    pub fn start(_: &config::Traces, _: &Metrics) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Cannot be called.
    pub fn close(&self) -> LastExport {
        match *self {}
    }
}

impl LastExport {
    /// Cannot be called.
    pub fn wait(self) {
        match self {}
    }
}

impl Traces {
    /// Returns `None`: the configuration rejects a collector in this build.
    ///
    /// # Errors
    /// Never.
    pub fn start(_: &config::Traces, _: &Metrics) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Cannot be called.
    pub fn begin(&self, _: Parent<'_>, _: Request) -> (Option<Span>, Option<HeaderValue>) {
        match *self {}
    }

    /// Cannot be called.
    pub fn flush(&self) {
        match *self {}
    }
}

impl Span {
    /// Cannot be called.
    pub fn stream(self, _: &Report, _: String, _: StatusCode) {
        match self {}
    }

    /// Cannot be called.
    pub fn returns(&mut self, _: &'static str) {
        match *self {}
    }

    /// Cannot be called.
    pub fn resumes(&mut self, _: u64, _: StatusCode) {
        match *self {}
    }

    /// Cannot be called.
    pub fn followed(self, _: End, _: String) {
        match self {}
    }

    /// Cannot be called.
    pub fn failed(self, _: &'static str, _: Option<Dialect>, _: StatusCode) {
        match self {}
    }

    /// Cannot be called.
    pub fn passing(&mut self, _: Option<Dialect>, _: StatusCode) {
        match *self {}
    }

    /// Cannot be called.
    pub fn passed(&mut self) {
        match *self {}
    }

    /// Cannot be called.
    pub fn cut(&mut self, _: End) {
        match *self {}
    }
}
