//! A client without a network: wired to a service of this process, and to a test double.
//!
//! Run it with `cargo run --example in_process`.

use std::error::Error;
use std::sync::{Arc, Mutex};

use rpc::{Channel, Codec, Invoke, Request, Response, Server, Status};

#[rpc::service]
trait Thermometer {
    async fn read(&self, room: &str) -> rpc::Result<f64>;
}

struct Cellar;

impl Thermometer for Cellar {
    async fn read(&self, room: &str) -> rpc::Result<f64> {
        match room {
            "cellar" => Ok(12.5),
            _ => Err(Status::not_found(format!("no thermometer in {room:?}"))),
        }
    }
}

/// The code under test: written against the trait, it takes whatever implements it.
async fn advice(thermometer: &impl Thermometer) -> String {
    match thermometer.read("cellar").await {
        Ok(degrees) if degrees < 15.0 => format!("{degrees} degrees: good for wine"),
        Ok(degrees) => format!("{degrees} degrees: drink it soon"),
        Err(status) => format!("no idea: {status}"),
    }
}

/// Notes every call, and answers each with 21 degrees.
#[derive(Clone, Debug, Default)]
struct Recorder {
    calls: Arc<Mutex<Vec<Request>>>,
}

#[rpc::async_trait]
impl Invoke for Recorder {
    async fn invoke(&self, request: Request) -> Result<Response, Status> {
        let mut reply = Vec::new();
        let encoded = Codec::default().encode(&21.0_f64, &mut reply);
        encoded.map_err(|error| Status::internal(error.to_string()))?;
        self.calls.lock().expect("nobody panicked").push(request);
        Ok(Response::new(reply.into()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("the object itself: {}", advice(&Cellar).await);

    // Encoded, dispatched and decoded as over a socket, but nothing is sent.
    let services = Server::builder().add_service(ThermometerServer::new(Cellar));
    let channel = Channel::from_invoke(services.in_process()?);
    let client = ThermometerClient::new(channel);
    println!("in this process:   {}", advice(&client).await);

    let recorder = Recorder::default();
    let client = ThermometerClient::new(Channel::from_invoke(recorder.clone()));
    println!("a test double:     {}", advice(&client).await);
    for call in recorder.calls.lock().expect("nobody panicked").iter() {
        let (service, method) = (&call.service, &call.method);
        println!("  it was asked {service}.{method} with {:?}", call.body);
    }
    Ok(())
}
