//! Who is measured.

/// One of them; `README.md` says how each is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) program: Program,
    /// Whose versions are told.
    pub(crate) packages: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// A package of this workspace.
    Rust(&'static str),
}

/// What the others are compared with.
pub(crate) const BARE: &str = "bare";
pub(crate) const OURS: &str = "ours";

pub(crate) const PEERS: &[Peer] = &[
    Peer {
        name: BARE,
        what: "no RPC: the same frame over TCP, as fast as Tokio goes",
        program: Program::Rust("peer-bare"),
        packages: &["tokio"],
    },
    Peer {
        name: OURS,
        what: "this project",
        program: Program::Rust("peer-ours"),
        packages: &["rpc"],
    },
    Peer {
        name: "tarpc",
        what: "bincode over TCP",
        program: Program::Rust("peer-tarpc"),
        packages: &["tarpc"],
    },
    Peer {
        name: "tonic",
        what: "gRPC",
        program: Program::Rust("peer-tonic"),
        packages: &["tonic", "prost", "h2"],
    },
];
