//! The registry, and the servers that enter themselves into it.

use std::sync::Arc;
use std::time::Duration;

use rpc::discovery::Attributes;
use rpc::registry::{EmbeddedRegistry, RegistrarClient, RemoteRegistry};
use rpc::{Server, ServerBuilder};

use crate::host::Place;
use crate::work::{WorkServer, Worker};

/// The host of the registry.
pub(crate) const REGISTRY: &str = "registry";
/// The shortest time of an entry.
const TTL: Duration = Duration::from_secs(1);
const TOKEN: &str = "a token";

/// A client of the registry.
pub(crate) fn registrar(place: &Place) -> RegistrarClient {
    let connector = Arc::new(place.connector(REGISTRY));
    RegistrarClient::new(place.channel().with_connector(connector))
}

/// A registry that forgets everything when it starts.
pub(crate) fn registry(_: &Place) -> ServerBuilder {
    let registry = EmbeddedRegistry::builder()
        .writer("fleet", TOKEN)
        .allow_names()
        .allow_any_source()
        .ttl(TTL..=2 * TTL)
        .build();
    Server::builder().add_service(registry.service())
}

/// A server of the fleet.
pub(crate) fn server(place: &Place) -> ServerBuilder {
    let worker = Worker {
        host: place.name.clone(),
        ledger: place.ledger.clone(),
    };
    let place = place.clone();
    let registry = RemoteRegistry::over(move || registrar(&place)).with_token(TOKEN);
    Server::builder()
        .add_service(WorkServer::new(worker))
        .register(registry, "work", Attributes::new())
        .registration_ttl(TTL)
}
