namespace go gen

struct Address {
    1: required string street,
    2: required string city,
    3: required i32 zip,
}

struct Item {
    1: required i32 sku,
    2: required string label,
    3: required i32 quantity,
    4: required double price,
}

struct Person {
    1: required i64 id,
    2: required string name,
    3: required string email,
    4: required i32 age,
    5: required double score,
    6: required bool active,
    7: required i64 created,
    8: required string note,
    9: required Address address,
    10: required list<Item> items,
}

struct Wanted {
    1: required i32 count,
    2: required binary payload,
}

struct Payload {
    1: required binary payload,
}

service Bench {
    binary echo(1: binary payload),
    Person record(1: Person person),
    binary work(1: i32 which, 2: i32 micros, 3: binary payload),
    Payload items(1: Wanted wanted) (streaming.mode = "server"),
}
