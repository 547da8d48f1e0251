//! The structured message in protobuf's types.

use peers_harness::Record;

use crate::proto::{Address, Item, Person};

pub(crate) fn sample() -> Person {
    let record = Record::sample();
    let address = record.address;
    let items = record.items.into_iter().map(|item| Item {
        sku: item.sku,
        label: item.label,
        quantity: item.quantity,
        price: item.price,
    });
    Person {
        id: record.id,
        name: record.name,
        email: record.email,
        age: record.age,
        score: record.score,
        active: record.active,
        created: record.created,
        note: record.note,
        address: Some(Address {
            street: address.street,
            city: address.city,
            zip: address.zip,
        }),
        items: items.collect(),
    }
}
