//! Servers that are processes, each behind a relay.

use rpc::ChannelBuilder;

use super::crew::{GreeterClient, sailor};
use crate::common::process::{self, Process, Role};
use crate::common::relay::Relay;

pub(crate) struct Processes {
    servers: Vec<Process>,
    pub(crate) relays: Vec<Relay>,
}

impl Processes {
    pub(crate) async fn start(count: usize) -> Self {
        let (mut servers, mut relays) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mut server = Process::start(&Role {
                test: "processes::role_sailor",
                target: "tcp://127.0.0.1:0",
                ..Role::default()
            });
            let uri = server.wait_for("listening");
            relays.push(Relay::open(uri.strip_prefix("tcp://").unwrap()).await);
            servers.push(server);
        }
        Self { servers, relays }
    }

    /// What a server answers with.
    pub(crate) fn number(&self, server: usize) -> usize {
        self.servers[server].id() as usize
    }

    pub(crate) fn client(&self, builder: ChannelBuilder) -> GreeterClient {
        let hosts: Vec<_> = self.relays.iter().map(|relay| &*relay.host).collect();
        let name = format!("static://{}/Greeter", hosts.join(","));
        GreeterClient::new(builder.connect_lazy(&name).unwrap())
    }
}

#[tokio::test]
#[ignore = "a process of another test"]
async fn role_sailor() {
    let Some((target, _)) = process::role() else {
        return;
    };
    process::serve(sailor(std::process::id() as usize, 1), &target).await;
}
