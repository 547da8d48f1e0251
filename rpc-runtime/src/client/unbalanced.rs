//! What stands in for `balanced.rs` without the feature `fleet`: channels go to one place, and no value
//! of these types exists.
//!
//! Why not leave the names out? Then everybody who asks where a call goes would have to know of the
//! feature. So only this file does, and the compiler knows that nobody comes here.

use std::sync::Arc;
use std::time::Instant;

use rpc_core::{Codec, Metadata, MethodDescriptor, Status};

use super::attempt::Failed;
use super::call::{Encode, Outbound};
use super::connection::Connection;
use super::options::CallOptions;
use super::pooled::{ConnectionPool, Pool};
use super::slot::{Answer, RawReply};
use super::stats::ChannelStats;
use crate::boxed::Boxed;
use crate::error::Error;

#[derive(Debug)]
enum Never {}

#[derive(Debug)]
pub(super) struct Balanced(Never);

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) pool: Pool,
}

pub(super) struct Begun(Never);

pub(super) struct Trip<'a>(&'a Never);

pub(super) struct Tracked<'a>(&'a Never);

/// Of what can be set there, what holds for the connections to one place as well.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) pool: ConnectionPool,
}

impl Balanced {
    pub(super) fn codec(&self) -> &Codec {
        match self.0 {}
    }

    pub(super) fn stats(&self) -> ChannelStats {
        match self.0 {}
    }

    pub(super) fn is_available(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn close(&self) {
        match self.0 {}
    }

    pub(super) async fn connect(&self) -> Result<(), Error> {
        match self.0 {}
    }

    pub(super) async fn endpoints(&self) -> Result<Vec<Arc<Endpoint>>, Status> {
        match self.0 {}
    }

    pub(super) async fn exchange(&self, _: &mut Outbound<'_>, _: &Encode<'_>) -> Answer {
        match self.0 {}
    }

    pub(super) async fn exchange_with(
        &self,
        _: &Endpoint,
        _: &mut Outbound<'_>,
        _: &Encode<'_>,
    ) -> Answer {
        match self.0 {}
    }

    pub(super) fn persist(
        &self,
        _: &mut Outbound<'_>,
        _: &Encode<'_>,
        _: Begun,
    ) -> Boxed<'_, Answer> {
        match self.0 {}
    }

    pub(super) fn this_turn(&self) -> Instant {
        match self.0 {}
    }

    pub(super) fn set_out(
        &self,
        _: &MethodDescriptor,
        _: &CallOptions,
        _: &Metadata,
    ) -> Option<Result<(Arc<Connection>, Trip<'_>), Begun>> {
        match self.0 {}
    }
}

impl Trip<'_> {
    pub(super) fn sent<'a>(self) -> Tracked<'a> {
        match *self.0 {}
    }

    pub(super) fn interrupted(self, _: Arc<Connection>) -> Begun {
        match *self.0 {}
    }

    pub(super) fn failed(self, _: Arc<Connection>, _: (&str, &str), _: Failed) -> Begun {
        match *self.0 {}
    }
}

impl Tracked<'_> {
    pub(super) fn replied(self) {
        match *self.0 {}
    }

    pub(super) fn answered(self, _: &Arc<Connection>, _: &mut RawReply) {
        match *self.0 {}
    }

    pub(super) fn lost(self, _: Arc<Connection>, _: (&str, &str), _: Failed) -> Begun {
        match *self.0 {}
    }
}
