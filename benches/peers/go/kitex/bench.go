package main

import (
	"context"
	"errors"
	"io"

	"peers/harness"
	"peers/kitex/gen"
	service "peers/kitex/gen/bench"
)

type handlers struct{}

func (handlers) Echo(_ context.Context, payload []byte) ([]byte, error) {
	return payload, nil
}

func (handlers) Record(_ context.Context, person *gen.Person) (*gen.Person, error) {
	return person, nil
}

func (handlers) Work(_ context.Context, which, micros int32, payload []byte) ([]byte, error) {
	harness.Work{Which: uint32(which), Micros: uint32(micros)}.Do()
	return payload, nil
}

func (handlers) Items(ctx context.Context, wanted *gen.Wanted, stream gen.Bench_itemsServer) error {
	item := &gen.Payload{Payload: wanted.Payload}
	for range wanted.Count {
		if err := stream.Send(ctx, item); err != nil {
			return err
		}
	}
	return nil
}

type kitexClient struct {
	client  service.Client
	person  *gen.Person
	streams bool
}

func (client kitexClient) Echo(payload []byte) ([]byte, error) {
	return client.client.Echo(context.Background(), payload)
}

func (client kitexClient) Record() (int, error) {
	reply, err := client.client.Record(context.Background(), client.person)
	if err != nil {
		return 0, err
	}
	return len(reply.Items), nil
}

func (client kitexClient) Work(work harness.Work, payload []byte) ([]byte, error) {
	return client.client.Work(context.Background(), int32(work.Which), int32(work.Micros), payload)
}

func (client kitexClient) Items(count uint32, payload []byte) (uint32, error) {
	if !client.streams {
		return 0, errors.New("streams: not available")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	items, err := client.client.Items(ctx, &gen.Wanted{Count: int32(count), Payload: payload})
	if err != nil {
		return 0, err
	}
	came := uint32(0)
	for {
		_, err := items.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return came, nil
		}
		if err != nil {
			return came, err
		}
		came++
	}
}

// samplePerson is the structured message as the generated code has it.
func samplePerson() *gen.Person {
	from := harness.SamplePerson()
	address := from.Address
	person := &gen.Person{
		Id:      int64(from.ID),
		Name:    from.Name,
		Email:   from.Email,
		Age:     int32(from.Age),
		Score:   from.Score,
		Active:  from.Active,
		Created: from.Created,
		Note:    from.Note,
		Address: &gen.Address{Street: address.Street, City: address.City, Zip: int32(address.Zip)},
	}
	for _, item := range from.Items {
		person.Items = append(person.Items, &gen.Item{
			Sku: int32(item.SKU), Label: item.Label, Quantity: int32(item.Quantity), Price: item.Price,
		})
	}
	return person
}
