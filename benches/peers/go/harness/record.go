package harness

import "fmt"

// Person is the structured message, as in ../../harness/src/record.rs.
type Person struct {
	ID      uint64
	Name    string
	Email   string
	Age     uint32
	Score   float64
	Active  bool
	Created int64
	Note    string
	Address Address
	Items   []Item
}

// Address is a part of Person.
type Address struct {
	Street, City string
	Zip          uint32
}

// Item is a part of Person.
type Item struct {
	SKU      uint32
	Label    string
	Quantity uint32
	Price    float64
}

// SamplePerson is the one that is sent; peers whose messages have types of their own convert it.
func SamplePerson() *Person {
	person := &Person{
		ID:      7_031_337,
		Name:    "Ada Lovelace",
		Email:   "ada@example.org",
		Age:     36,
		Score:   99.5,
		Active:  true,
		Created: 1_760_000_000,
		Note:    "the first to see what it was for",
		Address: Address{Street: "12 St James's Square", City: "London", Zip: 10_115},
	}
	for index := range uint32(10) {
		person.Items = append(person.Items, Item{
			SKU:      1000 + index,
			Label:    fmt.Sprintf("part number %d", index),
			Quantity: index + 1,
			Price:    2.5 * float64(index),
		})
	}
	return person
}
