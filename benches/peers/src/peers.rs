//! Who is measured.

/// One of them; `README.md` says how each is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) program: Program,
    /// Whose versions are told.
    pub(crate) packages: &'static [&'static str],
    /// The package of its hello world, if there is one.
    pub(crate) hello: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// A package of this workspace, and which of its programs.
    Rust {
        package: &'static str,
        binary: &'static str,
    },
    /// A package in `go`, which wants to know which peer to be: its name.
    Go { package: &'static str },
}

const fn rust(package: &'static str, binary: &'static str) -> Program {
    Program::Rust { package, binary }
}

const fn go(package: &'static str) -> Program {
    Program::Go { package }
}

/// What the others are compared with.
pub(crate) const BARE: &str = "bare";
pub(crate) const OURS: &str = "ours";
/// This project with other settings; measured only where a workload asks for them.
pub(crate) const OURS_OFF: &str = "ours-off";
pub(crate) const OURS_ON: &str = "ours-on";
pub(crate) const OURS_POOL: &str = "ours-pool";
/// Of the others, those with a connection for each call in flight.
pub(crate) const VOLO_POOL: &str = "volo-pool";
pub(crate) const KITEX_POOL: &str = "kitex-pool";
const VARIANTS: [&str; 3] = [OURS_OFF, OURS_ON, OURS_POOL];

impl Peer {
    pub(crate) fn is_variant(self) -> bool {
        VARIANTS.contains(&self.name)
    }

    /// Its threads take turns well when none is interrupted for another: what Go runs beside the calls,
    /// such as its collector, is better interrupted.
    pub(crate) const fn bears_realtime(self) -> bool {
        matches!(self.program, Program::Rust { .. })
    }

    /// Neither the yardstick nor this project.
    pub(crate) fn is_other(name: &str) -> bool {
        ![BARE, OURS].contains(&name) && !VARIANTS.contains(&name)
    }
}

pub(crate) const PEERS: &[Peer] = &[
    Peer {
        name: BARE,
        what: "no RPC: the same frame over TCP, as fast as Tokio goes",
        program: rust("peer-bare", "peer-bare"),
        packages: &["tokio"],
        hello: None,
    },
    Peer {
        name: OURS,
        what: "this project",
        program: rust("peer-ours", "peer-ours"),
        packages: &["rpc"],
        hello: Some("hello-ours"),
    },
    Peer {
        name: OURS_OFF,
        what: "this project without deadlines, pings and the end of idle connections",
        program: rust("peer-ours", "peer-ours-off"),
        packages: &[],
        hello: None,
    },
    Peer {
        name: OURS_ON,
        what: "this project with an interceptor on each side",
        program: rust("peer-ours", "peer-ours-on"),
        packages: &[],
        hello: None,
    },
    Peer {
        name: OURS_POOL,
        what: "this project with a connection for each call in flight, as volo-pool",
        program: rust("peer-ours", "peer-ours-pool"),
        packages: &[],
        hello: None,
    },
    Peer {
        name: "tarpc",
        what: "bincode over TCP",
        program: rust("peer-tarpc", "peer-tarpc"),
        packages: &["tarpc"],
        hello: Some("hello-tarpc"),
    },
    Peer {
        name: "tonic",
        what: "gRPC",
        program: rust("peer-tonic", "peer-tonic"),
        packages: &["tonic", "prost", "h2"],
        hello: Some("hello-tonic"),
    },
    Peer {
        name: "volo",
        what: "Thrift, multiplexed",
        program: rust("peer-volo", "peer-volo"),
        packages: &["volo-thrift", "pilota"],
        hello: None,
    },
    Peer {
        name: VOLO_POOL,
        what: "Thrift, a connection for each call in flight",
        program: rust("peer-volo", "peer-volo-pool"),
        packages: &["volo-thrift", "pilota"],
        hello: None,
    },
    Peer {
        name: "jsonrpsee",
        what: "JSON-RPC over WebSocket",
        program: rust("peer-jsonrpsee", "peer-jsonrpsee"),
        packages: &["jsonrpsee"],
        hello: None,
    },
    Peer {
        name: "connectrpc",
        what: "the Connect protocol with protobuf over HTTP/2",
        program: rust("peer-connectrpc", "peer-connectrpc"),
        packages: &["connectrpc", "buffa", "h2"],
        hello: None,
    },
    Peer {
        name: "net-rpc",
        what: "Go's standard library: gob over TCP",
        program: go("net-rpc"),
        packages: &[],
        hello: None,
    },
    Peer {
        name: "grpc-go",
        what: "gRPC in Go",
        program: go("grpc-go"),
        packages: &["google.golang.org/grpc", "google.golang.org/protobuf"],
        hello: None,
    },
    Peer {
        name: "rpcx",
        what: "rpcx in Go: raw bytes, and protobuf, over TCP",
        program: go("rpcx"),
        packages: &["github.com/smallnest/rpcx", "google.golang.org/protobuf"],
        hello: None,
    },
    Peer {
        name: "kitex",
        what: "kitex in Go: Thrift, multiplexed",
        program: go("kitex"),
        packages: &["github.com/cloudwego/kitex", "github.com/cloudwego/netpoll"],
        hello: None,
    },
    Peer {
        name: KITEX_POOL,
        what: "kitex in Go: Thrift, a connection for each call in flight",
        program: go("kitex"),
        packages: &["github.com/cloudwego/kitex", "github.com/cloudwego/netpoll"],
        hello: None,
    },
];
