// Command client calls Cloud Storage over REST and Secret Manager over REST and gRPC, as an agent in Go would.
//
// Usage: client rest|grpc STEP NAME. The result goes to standard output; an error ends the program with its
// text on standard error.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
)

// A step is one call, or what the libraries make of it.
type step func(ctx context.Context, name string) error

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: client rest|grpc STEP NAME")
	}
	steps := map[string]map[string]step{"rest": restSteps, "grpc": grpcSteps}
	do, found := steps[os.Args[1]][os.Args[2]]
	if !found {
		log.Fatalf("no such step: %s %s", os.Args[1], os.Args[2])
	}
	if err := do(context.Background(), os.Args[3]); err != nil {
		log.Fatal(fmt.Errorf("%s: %w", os.Args[2], err))
	}
}
