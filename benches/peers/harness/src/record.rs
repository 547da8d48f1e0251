//! The structured message: ten fields, one nested, one a vector of ten.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub id: u64,
    pub name: String,
    pub email: String,
    pub age: u32,
    pub score: f64,
    pub active: bool,
    pub created: i64,
    pub note: String,
    pub address: Address,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Address {
    pub street: String,
    pub city: String,
    pub zip: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub sku: u32,
    pub label: String,
    pub quantity: u32,
    pub price: f64,
}

impl Record {
    /// What is sent; the same in every peer.
    pub fn sample() -> Self {
        Self {
            id: 7_031_337,
            name: "Ada Lovelace".to_owned(),
            email: "ada@example.org".to_owned(),
            age: 36,
            score: 99.5,
            active: true,
            created: 1_760_000_000,
            note: "the first to see what it was for".to_owned(),
            address: Address {
                street: "12 St James's Square".to_owned(),
                city: "London".to_owned(),
                zip: 10_115,
            },
            items: (0..10).map(Item::sample).collect(),
        }
    }
}

impl Item {
    fn sample(index: u32) -> Self {
        Self {
            sku: 1000 + index,
            label: format!("part number {index}"),
            quantity: index + 1,
            price: 2.5 * f64::from(index),
        }
    }
}
