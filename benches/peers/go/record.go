package main

import (
	"fmt"

	"peers/bench"
)

// samplePerson is the structured message, as in ../harness/src/record.rs.
func samplePerson() *bench.Person {
	person := &bench.Person{
		Id:      7_031_337,
		Name:    "Ada Lovelace",
		Email:   "ada@example.org",
		Age:     36,
		Score:   99.5,
		Active:  true,
		Created: 1_760_000_000,
		Note:    "the first to see what it was for",
		Address: &bench.Address{Street: "12 St James's Square", City: "London", Zip: 10_115},
	}
	for index := range uint32(10) {
		person.Items = append(person.Items, &bench.Item{
			Sku:      1000 + index,
			Label:    fmt.Sprintf("part number %d", index),
			Quantity: index + 1,
			Price:    2.5 * float64(index),
		})
	}
	return person
}
