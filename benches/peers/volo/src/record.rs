//! The structured message in Thrift's types.

use peers_harness::Record;

use crate::generated::volo_gen::bench::{Address, Item, Person};

pub(crate) fn sample() -> Person {
    let record = Record::sample();
    let address = record.address;
    let items = record.items.into_iter().map(|item| Item {
        sku: item.sku as i32,
        label: item.label.into(),
        quantity: item.quantity as i32,
        price: item.price,
    });
    Person {
        id: record.id as i64,
        name: record.name.into(),
        email: record.email.into(),
        age: record.age as i32,
        score: record.score,
        active: record.active,
        created: record.created,
        note: record.note.into(),
        address: Address {
            street: address.street.into(),
            city: address.city.into(),
            zip: address.zip as i32,
        },
        items: items.collect(),
    }
}
