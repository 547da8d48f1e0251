//! `#[rpc(hash = "..")]`: an argument says which server a call belongs to.

use std::collections::BTreeMap;

use rpc::balance::hash_key;
use rpc::discovery::{Attributes, Endpoint, Resolvers, StaticList};
use rpc::{CallOptions, Channel, ChannelBuilder, Codec, Server};

use crate::common::unique;
use crate::millis;

#[rpc::service]
trait Carts {
    /// Who has the cart of this user.
    #[rpc(hash = "user_id")]
    async fn cart(&self, item: u32, user_id: u64) -> rpc::Result<usize>;
    #[rpc(hash = "name")]
    async fn cart_of(&self, name: &str) -> rpc::Result<usize>;
    async fn any(&self, user_id: u64) -> rpc::Result<usize>;
}

struct Keeper(usize);

impl Carts for Keeper {
    async fn cart(&self, _: u32, _: u64) -> rpc::Result<usize> {
        Ok(self.0)
    }
    async fn cart_of(&self, _: &str) -> rpc::Result<usize> {
        Ok(self.0)
    }
    async fn any(&self, _: u64) -> rpc::Result<usize> {
        Ok(self.0)
    }
}

/// Servers whose places on the ring are the same in every run.
struct Shop {
    servers: Vec<Server>,
    list: StaticList,
}

impl Shop {
    async fn of(size: usize) -> Self {
        let mut servers = Vec::new();
        for number in 0..size {
            let builder = Server::builder().add_service(CartsServer::new(Keeper(number)));
            let place = format!("mem://{}", unique("keeper"));
            servers.push(builder.bind(&place).await.unwrap());
        }
        let list = StaticList::new([]);
        let shop = Self { servers, list };
        shop.list_all_but(None);
        shop
    }

    fn list_all_but(&self, left_out: Option<usize>) {
        let servers = self.servers.iter().enumerate();
        let listed = servers.filter(|(number, _)| Some(*number) != left_out);
        let endpoints = listed.map(|(number, server)| {
            let tag = Attributes::new().with_tag("hash_key", format!("keeper {number}"));
            Endpoint::new(server.uri()).unwrap().with_attributes(tag)
        });
        self.list.set(endpoints.collect::<Vec<_>>());
    }

    fn client(&self, builder: ChannelBuilder) -> CartsClient {
        let resolvers = Resolvers::default().with("shop", self.list.clone());
        let builder = builder.resolvers(resolvers.unwrap());
        CartsClient::new(builder.connect_lazy("shop://carts").unwrap())
    }

    fn hashing(&self) -> CartsClient {
        self.client(Channel::builder().balancing("ring_hash"))
    }
}

async fn homes(client: &CartsClient, users: std::ops::Range<u64>) -> BTreeMap<u64, usize> {
    let mut homes = BTreeMap::new();
    for user in users {
        homes.insert(user, client.cart(0, user).await.unwrap());
    }
    homes
}

/// S3-10: whoever computes it, and in whatever codec the call travels. The table was written by
/// another process, and holds for all to come.
#[tokio::test(start_paused = true)]
async fn s3_10_an_argument_has_its_server_in_every_client_and_process() {
    let shop = Shop::of(4).await;
    let json = Channel::builder().balancing("ring_hash").codec(Codec::Json);
    for client in [shop.hashing(), shop.client(json)] {
        let homes = homes(&client, 0..16).await;
        assert_eq!(
            homes.into_values().collect::<Vec<_>>(),
            [0, 3, 2, 0, 0, 2, 3, 3, 2, 3, 2, 1, 3, 0, 1, 2]
        );
        for item in 0..8 {
            assert_eq!(client.cart(item, 7).await, client.cart(item + 8, 7).await);
        }
        let mut names = Vec::new();
        for name in ["", "Ann", "Bob", "Zoë"] {
            names.push(client.cart_of(name).await.unwrap());
        }
        assert_eq!(names, [0, 3, 3, 3]);
    }
}

/// S3-10: of K users with N servers, K/N move when one of the servers goes, and they come back.
#[tokio::test(start_paused = true)]
async fn s3_10_only_the_users_of_a_server_that_goes_move() {
    const USERS: u64 = 400;
    let shop = Shop::of(4).await;
    let client = shop.hashing();
    let before = homes(&client, 0..USERS).await;
    let of_two = before.values().filter(|home| **home == 2).count();
    // A quarter of them; the ring is even to a quarter of that.
    assert!((75..=125).contains(&of_two), "{of_two} of {USERS}");
    shop.list_all_but(Some(2));
    tokio::time::sleep(millis(50)).await;
    assert_eq!(client.channel().stats().endpoints.len(), 3);
    for (user, home) in homes(&client, 0..USERS).await {
        assert_ne!(home, 2);
        assert!(before[&user] == 2 || before[&user] == home, "{user} moved");
    }
    shop.list_all_but(None);
    tokio::time::sleep(millis(50)).await;
    assert_eq!(client.channel().stats().endpoints.len(), 4);
    assert_eq!(homes(&client, 0..USERS).await, before);
}

/// What a caller says goes before the argument, and the argument before the metadata of the channel.
#[tokio::test(start_paused = true)]
async fn the_caller_says_more_than_the_argument_and_the_argument_more_than_the_metadata() {
    let shop = Shop::of(4).await;
    let by_metadata = Channel::builder()
        .balancing("ring_hash")
        .hash_metadata("tenant");
    let client = shop.client(by_metadata);
    let tenant = client.with_metadata("tenant", "a").unwrap();
    let homes = homes(&shop.hashing(), 0..32).await;
    let of_tenant = tenant.any(0).await.unwrap();
    for (user, home) in &homes {
        assert_eq!(tenant.cart(0, *user).await.unwrap(), *home);
        assert_eq!(tenant.any(*user).await.unwrap(), of_tenant);
    }
    let keyed = client.with_options(CallOptions::new().with_hash_key(hash_key(b"a")));
    for user in 0..32 {
        assert_eq!(keyed.cart(0, user).await.unwrap(), of_tenant);
    }
}
