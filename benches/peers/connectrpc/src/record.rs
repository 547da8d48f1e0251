//! The structured message in the generator's types.

use peers_harness::Record;

use crate::proto::bench::{Address, Item, Person};

pub(crate) fn sample() -> Person {
    let record = Record::sample();
    let address = record.address;
    let items = record.items.into_iter().map(|item| Item {
        sku: item.sku,
        label: item.label,
        quantity: item.quantity,
        price: item.price,
        ..Item::default()
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
        address: buffa::MessageField::some(Address {
            street: address.street,
            city: address.city,
            zip: address.zip,
            ..Address::default()
        }),
        items: items.collect(),
        ..Person::default()
    }
}
