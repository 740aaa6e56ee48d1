package main

// Mortise, through our client.

import (
	"context"

	"github.com/mortise-lock/mortise/client"
)

// openMortise returns a function that opens a component of the Mortise at the address.
func openMortise(component string) func(ctx context.Context, addr string) (*locks, error) {
	return func(_ context.Context, addr string) (*locks, error) {
		c, err := client.Dial(addr, client.Store(component), client.TTL(ttl))
		if err != nil {
			return nil, err
		}
		return sharedLocks(func(ctx context.Context, key string, held func()) error {
			_, err := client.Do(ctx, c, key, func(context.Context) (struct{}, error) {
				held()
				return struct{}{}, nil
			})
			return err
		}, func() { _ = c.Close() }), nil
	}
}
