package bench

import "peers/harness"

// SamplePerson is the structured message as the generated code has it.
func SamplePerson() *Person {
	from := harness.SamplePerson()
	address := from.Address
	person := &Person{
		Id:      from.ID,
		Name:    from.Name,
		Email:   from.Email,
		Age:     from.Age,
		Score:   from.Score,
		Active:  from.Active,
		Created: from.Created,
		Note:    from.Note,
		Address: &Address{Street: address.Street, City: address.City, Zip: address.Zip},
	}
	for _, item := range from.Items {
		person.Items = append(person.Items, &Item{
			Sku: item.SKU, Label: item.Label, Quantity: item.Quantity, Price: item.Price,
		})
	}
	return person
}
